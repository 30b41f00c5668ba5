"""Runs in MLflow, beside run folders."""

import json
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from fewstep.tracking import Backend, Follower, open_run


def history(backend, run, metric="loss"):
    return [(point.step, point.value) for point in backend.client().get_metric_history(run.run_id, metric)]


def test_a_run_has_params_tags_metrics_and_its_end(backend, write_progress):
    run = open_run(
        write_progress(10, 20), "digits", "cd", backend, {"a": {"b": 1}, "long": "x" * 9000}, {"recipe": "cd"}
    )
    with run:
        assert run.push()
        assert backend.client().get_run(run.run_id).info.status == "RUNNING"
    logged = backend.client().get_run(run.run_id)
    assert (logged.info.run_name, logged.info.status) == ("cd", "FINISHED")
    assert (logged.data.params["a.b"], logged.data.tags["recipe"]) == ("1", "cd")
    assert set(logged.data.metrics) == {
        "loss",
        "learning_rate",
        "grad_norm",
        "system/images_per_second",
        "system/seconds",
    }
    assert history(backend, run) == [(10, 1 / 10), (20, 1 / 20)]
    assert backend.client().get_experiment(logged.info.experiment_id).name == "digits"
    params = Path(backend.client().download_artifacts(run.run_id, "params.json"))
    assert json.loads(params.read_text())["long"] == "x" * 9000


def test_a_resumed_training_goes_on_in_its_run_and_repeats_nothing(backend, write_progress):
    folder = write_progress(10, 20, 30)
    first = open_run(folder, "digits", "cd", backend, {"a": 1, "workers": 1})
    with pytest.raises(KeyboardInterrupt), first:
        raise KeyboardInterrupt
    assert backend.client().get_run(first.run_id).info.status == "KILLED"
    write_progress(20, 30, 40)
    again = open_run(folder, "digits", "cd", backend, {"a": 1, "workers": 2})
    with again:
        pass
    assert again.run_id == first.run_id
    assert [step for step, _ in history(backend, again)] == [10, 20, 30, 40]
    data = backend.client().get_run(again.run_id).data
    assert (data.params["workers"], data.tags["later.workers"]) == ("1", "2")
    assert "later.a" not in data.tags


def test_a_kill_between_logging_and_remembering_logs_nothing_twice(backend, write_progress):
    folder = write_progress(10, 20, 30)
    open_run(folder, "digits", "cd", backend).push()
    state = json.loads((folder / "tracking.json").read_text())
    (folder / "tracking.json").write_text(json.dumps({**state, "images": -1}))
    write_progress(40)
    run = open_run(folder, "digits", "cd", backend)
    assert run.push()
    assert [step for step, _ in history(backend, run)] == [10, 20, 30, 40]


def test_many_lines_go_in_batches(backend, write_progress):
    run = open_run(write_progress(*range(10, 6010, 10)), "digits", "cd", backend)
    assert run.push()
    assert [step for step, _ in history(backend, run)] == list(range(10, 6010, 10))


def test_pictures_are_logged_once_and_when_they_are_whole(backend, write_progress):
    folder = write_progress(10)
    (folder / "pictures").mkdir()
    Image.new("L", (64, 64)).save(folder / "pictures" / "samples_nfe1_000000010.png")
    (folder / "pictures" / "samples_nfe1_000000020.png").write_bytes(b"\x89PNG\r\n")

    def logged():
        files = backend.client().list_artifacts(open_run(folder, "digits", "cd", backend).run_id, "images")
        return sorted(file.path.split("+timestamp")[0] for file in files if file.path.endswith(".png"))

    assert open_run(folder, "digits", "cd", backend).push()
    assert logged() == ["images/samples_nfe1+step+10"]
    Image.new("L", (64, 64)).save(folder / "pictures" / "samples_nfe1_000000020.png")
    assert open_run(folder, "digits", "cd", backend).push()
    assert logged() == ["images/samples_nfe1+step+10", "images/samples_nfe1+step+20"]


def test_while_mlflow_is_away_the_work_goes_on(tmp_path, empty_database, write_progress, scores, caplog):
    folder, database = write_progress(10), tmp_path / "away" / "mlflow.db"
    database.mkdir(parents=True)
    backend = Backend(f"sqlite:///{database}")
    run = open_run(folder, "digits", "cd", backend, {"a": 1})
    with run, Follower(folder, [run], seconds=0.01):
        write_progress(20)
        time.sleep(0.1)
        run._due = 0
        time.sleep(0.1)
    run.log_scores(scores(26.0).means_of("cd"))
    run.attach(folder / "progress.jsonl")
    assert run.run_id is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "The work goes on" in caplog.text

    database.rmdir()
    shutil.copy(empty_database, database)
    again = open_run(folder, "digits", "cd", backend)
    assert again.push()
    assert [step for step, _ in history(backend, again)] == [10, 20]
    assert history(backend, again, "scores_by_nfe/fid_digits") == [(1, 26.0), (2, 25.0)]
    logged = backend.client().get_run(again.run_id)
    assert (logged.info.status, logged.data.params) == ("FINISHED", {"a": "1"})
    assert "progress.jsonl" in [file.path for file in backend.client().list_artifacts(again.run_id)]


def test_mlflow_that_comes_back_in_mid_training_gets_it_all(backend, write_progress, caplog):
    folder = write_progress(10)
    run, hidden = open_run(folder, "digits", "cd", backend), backend.database.with_suffix(".hidden")
    backend.database.rename(hidden)
    backend.database.mkdir()
    assert not run.push()
    write_progress(20)
    assert not run.push()
    backend.database.rmdir()
    hidden.rename(backend.database)
    assert run.push()
    assert [step for step, _ in history(backend, run)] == [10, 20]
    assert len(caplog.records) == 2
    assert "is back" in caplog.text


def test_a_run_that_mlflow_lost_is_made_again(backend, write_progress):
    folder = write_progress(10, 20)
    run = open_run(folder, "digits", "cd", backend)
    run.push()
    backend.client().delete_run(run.run_id)
    again = open_run(folder, "digits", "cd", backend)
    assert again.push()
    assert again.run_id != run.run_id
    assert [step for step, _ in history(backend, again)] == [10, 20]


def test_scores_join_the_run_that_trained_the_model_once(backend, write_progress, scores):
    folder = write_progress(10)
    with open_run(folder, "digits", "cd", backend):
        pass
    for _ in range(2):
        run = open_run(folder, "digits", "cd", backend)
        run.log_scores(scores(26.0).means_of("cd"))
    assert history(backend, run, "scores_by_nfe/fid_digits") == [(1, 26.0), (2, 25.0)]
    assert history(backend, run, "fid_1nfe") == [(0, 26.0)], "the headline"
    logged = backend.client().get_run(run.run_id)
    assert (logged.info.status, logged.data.tags["floor.fid_digits"]) == ("FINISHED", "19")
    run.log_scores(scores(24.0).means_of("cd"))
    assert [value for _, value in history(backend, run, "fid_1nfe")] == [26.0, 24.0]


def test_other_samplers_are_beside_the_usual_one_and_only_by_the_primary_score(backend, write_progress, scores):
    run = open_run(write_progress(10), "digits", "teacher", backend)
    run.log_scores(scores(26.0).means_of("teacher"))
    assert history(backend, run, "scores_by_nfe/fid_digits") == [(9, 119.0)]
    assert history(backend, run, "scores_by_nfe/fid_digits_euler") == [(1, 300.0)]
    assert history(backend, run, "fid_9nfe") == [(0, 119.0)]
    names = set(backend.client().get_run(run.run_id).data.metrics)
    assert "scores_by_nfe/memorisation" in names and "scores_by_nfe/memorisation_euler" not in names


def test_the_data_of_a_run_are_among_its_inputs_once(backend, write_progress, tmp_path):
    run = open_run(write_progress(10), "digits", "cd", backend)
    for _ in range(2):
        run.log_data("digits", "c0" * 32, tmp_path, {"count": 1797})
    (given,) = backend.client().get_run(run.run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("digits", "c0" * 18)
    assert json.loads(given.dataset.source) == {"uri": str(tmp_path)}
    assert json.loads(given.dataset.profile) == {"count": 1797}


@pytest.mark.parametrize(
    "text", ["", '{"run_id":', "[]", "7", '{"run_id": null}', json.dumps({"params": "x"}), "[" * 100_000]
)
def test_a_damaged_state_begins_a_new_run_and_is_named(backend, write_progress, caplog, text):
    folder = write_progress(10)
    first = open_run(folder, "digits", "cd", backend)
    first.push()
    (folder / "tracking.json").write_text(text)
    again = open_run(folder, "digits", "cd", backend)
    assert again.push() and again.run_id not in (None, first.run_id)
    assert "tracking.json is damaged" in caplog.text and "logged as a new run" in caplog.text
    assert history(backend, again) == [(10, 1 / 10)]
