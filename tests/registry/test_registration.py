"""Versions, aliases, and what a caller gets from them."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import SavedModel
from fewstep.models.spec import levels_from_json
from fewstep.pipelines.register.nodes import register_student
from fewstep.pipelines.workplace import Workplace
from fewstep.registry import attach, force, history, load_registered, register, register_teacher, sync
from fewstep.registry.versions import write_package
from fewstep.serving.request import Request
from fewstep.tracking import Backend, open_run

pytestmark = pytest.mark.slow

CHAMPION = "models:/fewstep-digits@champion"


def aliases(backend):
    return {alias: int(n) for alias, n in backend.client().get_registered_model("fewstep-digits").aliases.items()}


def test_the_first_version_is_champion_for_the_time_being(
    backend, finished_model, scores, write_progress, tmp_path, monkeypatch
):
    run = open_run(write_progress(10), "digits", "cd", backend)
    run.push()
    tags = {"git_commit": "c" * 40, "data_sha256": "d" * 64, "mlflow.source.name": "kedro run"}
    record = register(finished_model(), scores(26.0), backend, tags, run.run_id)
    assert (record["name"], record["version"], record["uri"]) == ("fewstep-digits", 1, CHAMPION)
    assert (record["aliases"], record["provisional"]) == (["challenger", "champion"], True)
    assert "no champion" in record["reason"]
    assert record["scores"]["fid_digits/nfe_01"] == 26.0
    assert record["lineage"] == {"teacher_sha256": "7" * 64, "git_commit": "c" * 40, "data_sha256": "d" * 64}
    version = backend.client().get_model_version("fewstep-digits", "1")
    assert version.run_id == run.run_id
    assert (version.tags["fid_digits/nfe_01"], version.tags["git_commit"]) == ("26.0", "c" * 40)
    assert version.tags["model_sha256"] == record["model_sha256"]
    assert version.description.startswith("# fewstep-digits: cd\n\nTrained by Fewstep. It makes 1x8x8 images, without")
    for words in (
        "| 1 | 26 | 0 |",
        "| 2 | 1 | 25 | 0 |",
        f"commit `{'c' * 12}`",
        f"**Teacher** `{'7' * 12}`",
        "provisional",
    ):
        assert words in version.description
    _, python, *_ = version.description.split("```")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    exec(python.removeprefix("python"), found := {})
    assert found["images"].shape == (16, 1, 8, 8) and '"models:/fewstep-digits/1"' in python
    (asked,) = json.loads(re.search(r"-d '(.*)'", version.description)[1])["inputs"]
    assert Request(**asked).nfe == 1


def test_a_version_keeps_the_files_that_show_it(backend, finished_model, scores, tmp_path):
    from mlflow.artifacts import download_artifacts

    (sheet := tmp_path / "sheet.png").write_bytes(b"a picture")
    register(finished_model(), scores(26.0), backend, shown=[sheet])
    version = backend.client().get_model_version("fewstep-digits", "1")
    assert (
        Path(download_artifacts(f"{version.source}/sheet.png", tracking_uri=backend.uri)).read_bytes() == b"a picture"
    )


def test_a_report_is_kept_with_every_version_of_its_model(backend, finished_model, scores, tmp_path):
    for seed, value in ((0, 26.0), (0, 25.0), (1, 24.0)):
        register(finished_model(seed), scores(value), backend)
    (report := tmp_path / "report.html").write_text("a report")
    attach(finished_model(0), backend, report)
    assert [(place_of(backend, n) / "report.html").exists() for n in (1, 2, 3)] == [True, True, False]


def place_of(backend, number) -> Path:
    return Path(backend.client().get_model_version("fewstep-digits", str(number)).source)


def damaged(backend, place: Path, how: str) -> None:
    """What befalls the files of version 1."""
    if how == "gone":
        shutil.rmtree(place)
    elif how == "others":
        shutil.copytree(place_of(backend, 2), place, dirs_exist_ok=True)
    elif how == "torn":
        (place / "artifacts" / "model" / "model.safetensors").write_bytes(b"")
    elif how == "code":
        (place / "generator.py").write_text("raise RuntimeError")
    elif how == "requirements":
        (place / "requirements.txt").write_text("torch\nanother\n")
    elif how == "package":
        file = place / "artifacts" / "fewstep.zip"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        (place / how).unlink()


@pytest.mark.parametrize(
    "how", ["gone", "others", "torn", "code", "requirements", "package", "MLmodel", "artifacts/fewstep.zip"]
)
@pytest.mark.parametrize("by", ["register", "sync"])
def test_lost_or_damaged_files_of_a_version_are_made_again(
    backend, finished_model, scores, tmp_path, monkeypatch, how, by
):
    from mlflow.pyfunc import load_model

    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    model, levels = finished_model(), {"2": [1.5]}
    searched = model.at_levels(levels_from_json(levels)).save(tmp_path / "searched")
    (sheet := tmp_path / "sheet.png").write_bytes(b"a picture")
    record = register(searched, scores(26.0), backend)
    register(finished_model(1), scores(20.0), backend)
    moves, place = history(backend, "fewstep-digits"), place_of(backend, 1)
    damaged(backend, place, how)
    with pytest.raises(ValueError, match="version 1"):
        load_registered(CHAMPION, backend)
    if by == "register":
        register(searched, scores(26.0), backend, shown=[sheet])
    else:
        sync([(record, model.folder, sheet)], backend)
    assert load_registered(CHAMPION, backend).spec.levels == levels_from_json(levels)
    (answer,) = load_model(CHAMPION).predict([{"nfe": 2}])
    assert (answer["version"], answer["levels"][1:]) == (1, [1.5])
    assert history(backend, "fewstep-digits") == moves
    client = backend.client()
    assert [("mended" in client.get_model_version("fewstep-digits", n).tags) for n in "12"] == [True, False]
    assert (place / "sheet.png").exists()


def test_a_copied_registry_writes_nothing_where_it_was_copied_from(backend, finished_model, scores, tmp_path):
    record, place = register(finished_model(), scores(26.0), backend), place_of(backend, 1)
    (tmp_path / "copy").mkdir()
    shutil.copy(backend.database, tmp_path / "copy")
    copied = Backend.at(tmp_path / "copy", "sqlite:///mlflow.db")
    shutil.rmtree(place)
    for again in (
        lambda: register(finished_model(), scores(26.0), copied),
        lambda: sync([(record, finished_model().folder)], copied),
    ):
        with pytest.raises(ValueError, match=f"moved or copied: its files are in {place}.*fewstep registry sync"):
            again()
    assert not place.exists()


def test_a_version_that_is_whole_is_not_made_again(backend, finished_model, scores):
    record = register(finished_model(), scores(26.0), backend)
    made = (place_of(backend, 1) / "MLmodel").stat().st_mtime_ns
    register(finished_model(), scores(26.0), backend)
    sync([(record, finished_model().folder)], backend)
    assert (place_of(backend, 1) / "MLmodel").stat().st_mtime_ns == made
    assert "mended" not in backend.client().get_model_version("fewstep-digits", "1").tags


def taught(finished_model):
    """A student of a training `cd-1`, and its teacher."""
    student, teacher = finished_model(0), finished_model(0, teacher=True)
    provenance = replace(student.spec.provenance, run="cd-1", teacher_sha256=teacher.sha256)
    return replace(student, spec=replace(student.spec, provenance=provenance)), teacher


def registered(found, student, teacher, workplace, levels=None):
    """The record that the pipeline's node makes. levels: of the recipe, if not given."""
    levels, pictures = levels or StudentLevels.of_recipe(student), (Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3)))
    return register_student(student, teacher, found, levels, *pictures, None, workplace)[0]


def test_a_version_has_the_levels_that_it_was_scored_at(backend, finished_model, scores, tmp_path):
    student, teacher = taught(finished_model)
    found, here = scores(26.0), Workplace(tmp_path, backend, "base", None, False)
    searched = StudentLevels(student.sha256, {2: (1.5,)}, searched=True)
    assert registered(found, student, teacher, here, searched)["levels"] == {"2": [1.5]}


def test_a_version_names_the_code_that_trained_it_and_keeps_its_pictures(backend, finished_model, scores, tmp_path):
    student, teacher = taught(finished_model)
    open_run(tmp_path / "cd-1", "digits", "cd", backend, {}, {"git_commit": "a" * 40, "git_dirty": "false"})
    found = replace(scores(26.0), models={"cd": student.sha256, "teacher": teacher.sha256})
    record = registered(found, student, teacher, Workplace(tmp_path, backend, "base", None, False))
    assert (record["lineage"]["git_commit"], record["lineage"]["git_dirty"]) == ("a" * 40, "false")
    assert Image.open(place_of(backend, 1) / "ladder.png").width == 3


def test_a_second_version_waits_for_the_gate(backend, finished_model, scores):
    register(finished_model(0), scores(26.0, seeds=[0, 1, 2]), backend)
    better = register(finished_model(1), scores(20.0, seeds=[0, 1, 2]), backend)
    assert (better["aliases"], better["uri"]) == (["challenger"], "models:/fewstep-digits/2")
    assert better["reason"] == "its fid_digits/nfe_01 is 20, and the gate has not decided yet"
    assert not better["provisional"]
    assert aliases(backend) == {"challenger": 2, "champion": 1}


def test_a_score_that_is_no_number_makes_no_champion(backend, finished_model, scores):
    record = register(finished_model(0), scores(float("nan")), backend)
    assert (record["aliases"], record["provisional"]) == (["challenger"], True)


def test_the_same_model_with_the_same_scores_is_the_same_version(backend, finished_model, scores):
    first = register(finished_model(0), scores(26.0), backend)
    second = register(finished_model(1), scores(30.0), backend)
    assert register(finished_model(0), scores(26.0, speed=650.0), backend) == first
    assert aliases(backend) == {"challenger": 1, "champion": 1}
    assert register(finished_model(1), scores(30.0), backend) == second
    assert register(finished_model(0), scores(25.0), backend)["version"] == 3


def test_registered_twice_at_once_it_is_one_version(backend, finished_model, scores):
    model, start = finished_model(), threading.Barrier(2)

    def registering(_):
        start.wait()
        return register(model, scores(26.0), backend)["version"]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(registering, range(2))) == [1, 1]
    assert len(backend.client().search_model_versions()) == 1


def test_a_damaged_or_unevaluated_model_is_not_registered(backend, finished_model, scores):
    model = finished_model()
    with pytest.raises(ValueError, match="no scores of 'cd'"):
        register(model, scores(26.0, rows=[]), backend)
    with (model.folder / "model.json").open("a") as file:
        file.write(" x")
    with pytest.raises(ValueError, match="damaged"):
        SavedModel.open(model.folder)
    weights = model.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged"):
        register(model, scores(26.0), backend)
    assert not backend.client().search_registered_models()


def test_a_registry_that_is_away_is_named(tmp_path, finished_model, scores):
    with pytest.raises(ConnectionError, match=r"MLflow at http://127.0.0.1:9 does not answer"):
        register(finished_model(), scores(26.0), Backend.at(tmp_path, "http://127.0.0.1:9"))


@pytest.fixture
def elsewhere(tmp_path, empty_database):
    """Another registry."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "mlflow.db").write_bytes(empty_database.read_bytes())
    return Backend.at(tmp_path / "clone", "sqlite:///mlflow.db")


def test_sync_makes_versions_moves_and_aliases_again(backend, tmp_path, finished_model, scores, elsewhere):
    models = [finished_model(seed) for seed in range(3)]
    records = [register(model, scores(26.0 - n), backend) for n, model in enumerate(models)]
    force(backend, "fewstep-digits", 3, "better")
    moves = {"name": "fewstep-digits", "moves": history(backend, "fewstep-digits")}
    path = tmp_path / "record.json"
    path.write_text(json.dumps(records[2]))
    pairs = [(path, models[2].folder), (records[0], models[0].folder)]  # the record of version 2 is lost

    made = sync(pairs, elsewhere, moves)
    assert [record["version"] for record in made] == [1, 3]
    assert made[1]["reason"] == "better"
    assert aliases(elsewhere) == aliases(backend) == {"challenger": 3, "champion": 3, "previous": 1}
    assert history(elsewhere, "fewstep-digits") == moves["moves"]
    assert sync(pairs, elsewhere, moves) == made
    assert len(elsewhere.client().search_model_versions()) == 2
    assert load_registered(CHAMPION, elsewhere).sha256 == records[2]["model_sha256"]


def test_sync_makes_a_version_with_the_levels_that_it_was_scored_at(
    backend, tmp_path, finished_model, scores, elsewhere
):
    model, levels = finished_model(), {"2": [1.5]}
    searched = model.at_levels(levels_from_json(levels)).save(tmp_path / "searched")
    record = register(searched, scores(26.0), backend)
    assert record["levels"] == levels
    (made,) = sync([(record, model.folder)], elsewhere)  # DVC keeps the one of the recipe's levels
    assert (made["levels"], made["model_sha256"]) == (levels, record["model_sha256"])
    assert load_registered(CHAMPION, elsewhere).levels(2).tolist() == [80.0, 1.5]
    assert model.load().levels(2).tolist() != [80.0, 1.5]
    before = {key: value for key, value in record.items() if key != "levels"}  # as records once were
    elsewhere.client().delete_registered_model("fewstep-digits")
    (made,) = sync([(before, searched.folder)], elsewhere)
    assert "levels" not in made
    assert register(searched, scores(26.0), elsewhere)["levels"] == levels


def test_a_students_version_leads_to_its_teachers_and_to_the_data(backend, finished_model, scores, write_progress):
    run = open_run(write_progress(10), "digits", "cd", backend)
    run.push()
    tags = {"data_sha256": "d" * 64, "dvc_lock_sha256": "b" * 64}
    taught_by = register_teacher(finished_model(teacher=True), scores(26.0), backend, tags)
    assert (taught_by["uri"], taught_by["aliases"]) == ("models:/fewstep-digits-teacher/1", [])
    assert taught_by["reason"] == "a teacher; its fid_digits/nfe_09 is 119"
    assert register_teacher(finished_model(teacher=True), scores(26.0), backend, tags) == taught_by
    record = register(finished_model(), scores(26.0), backend, tags, run.run_id, taught_by)
    assert record["lineage"]["teacher_version"] == "fewstep-digits-teacher/1"
    assert record["teacher"] == taught_by
    version = backend.client().get_model_version("fewstep-digits", "1")
    assert version.tags["teacher_version"] == "fewstep-digits-teacher/1"
    for words in (
        "[fewstep-digits-teacher version 1](#/models/fewstep-digits-teacher/versions/1)",
        f"/runs/{run.run_id})",
        f"`dvc.lock` `{'b' * 12}`",
        f"**Data** digits, `{'d' * 12}`",
    ):
        assert words in version.description
    teacher = load_registered("models:/fewstep-digits-teacher/1", backend)
    assert teacher.samplers[0] == "heun"


def test_a_version_that_was_there_before_its_teacher_is_told_of_it(backend, finished_model, scores):
    before = register(finished_model(), scores(26.0), backend, {"git_commit": "c" * 40})
    taught_by = register_teacher(finished_model(teacher=True), scores(26.0), backend)
    now = register(finished_model(), scores(26.0), backend, {"git_commit": "a" * 40}, teacher=taught_by)
    assert now["lineage"] == before["lineage"] | {"teacher_version": "fewstep-digits-teacher/1"}
    assert (now["version"], now["aliases"]) == (1, before["aliases"])
    assert "fewstep-digits-teacher version 1" in backend.client().get_model_version("fewstep-digits", "1").description


def test_sync_makes_teachers_too_and_students_name_them_as_they_are_now(backend, finished_model, scores, elsewhere):
    teacher, student = finished_model(teacher=True), finished_model()
    taught_by = register_teacher(teacher, scores(26.0), backend)
    record = register(student, scores(26.0), backend, teacher=taught_by)
    register_teacher(finished_model(5, teacher=True), scores(26.0), elsewhere)  # has the number already
    pairs = [(record, student.folder), (record["teacher"], teacher.folder)]
    made = sync(pairs, elsewhere)
    assert [(one["name"], one["version"]) for one in made] == [("fewstep-digits-teacher", 2), ("fewstep-digits", 1)]
    assert made[1]["lineage"]["teacher_version"] == "fewstep-digits-teacher/2"
    assert sync(pairs, elsewhere) == made
    assert load_registered("models:/fewstep-digits-teacher/2", elsewhere).sha256 == taught_by["model_sha256"]


def test_an_earlier_champion_comes_with_its_record(backend, finished_model, scores, elsewhere):
    models = [finished_model(seed) for seed in range(2)]
    first, second = (register(model, scores(26.0 - n), backend) for n, model in enumerate(models))
    sync([(second, models[1].folder)], elsewhere)
    assert aliases(elsewhere) == {"challenger": 2}
    (made,) = sync([(first, models[0].folder)], elsewhere)
    assert (made["version"], aliases(elsewhere)["champion"]) == (3, 3)  # 1 was passed over, for 2 to keep its number
    assert load_registered(CHAMPION, elsewhere).sha256 == first["model_sha256"]


def test_sync_without_moves_leaves_a_champion_that_is_there(backend, finished_model, scores, elsewhere):
    record, model = register(finished_model(0), scores(20.0), backend), finished_model(0)
    register(finished_model(1), scores(26.0), elsewhere)
    (made,) = sync([(record, model.folder)], elsewhere)
    assert (made["version"], made["aliases"]) == (2, ["challenger"])
    elsewhere.client().delete_model_version("fewstep-digits", "1")
    (made,) = sync([(record, model.folder)], elsewhere)
    assert made["aliases"] == ["challenger", "champion"]
    assert history(elsewhere, "fewstep-digits")[-1]["kind"] == "restored"


def test_sync_refuses_a_folder_of_another_model(backend, finished_model, scores):
    record = register(finished_model(0), scores(20.0), backend)
    with pytest.raises(ValueError, match="is not the model of"):
        sync([({**record, "model_sha256": "0" * 64}, finished_model(0).folder)], backend)


def test_a_registered_model_gives_the_arrays_of_the_model(backend, finished_model, scores):
    saved = finished_model()
    register(saved, scores(26.0), backend)
    model = load_registered("models:/fewstep-digits/1", backend)
    assert np.array_equal(
        model.sample(nfe=2, seed=5, indices=range(3)), saved.load().sample(nfe=2, seed=5, indices=range(3))
    )
    with pytest.raises(ValueError, match=r"@best is not in the registry at sqlite"):
        load_registered("models:/fewstep-digits@best", backend)
    with pytest.raises(ValueError, match=r"must be given as models:.NAME@champion .*, got models:.fewstep-digits"):
        load_registered("models:/fewstep-digits", backend)
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI"):
        load_registered(CHAMPION, Backend(f"sqlite:///{saved.folder}/no.db"))


def decoded(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


def test_a_generator_answers_requests_and_refuses_bad_ones(finished_model, tmp_path):
    from mlflow import pyfunc

    model = finished_model(labels=True)
    (tmp_path / "package").mkdir()
    write_package(model, tmp_path / "package")
    generator = pyfunc.load_model(str(tmp_path / "package" / "pyfunc"))
    first, second = generator.predict([{"num_images": 2, "nfe": 2, "seed": 3, "label": 4}, {"seed": 1}])
    expected = model.load().sample(nfe=2, seed=3, indices=range(2), labels=[4, 4])
    assert np.array_equal([decoded(picture) for picture in first["images"]], expected[:, 0])
    assert (first["nfe"], first["seed"], first["label"], len(first["levels"])) == (2, 3, 4, 2)
    assert len(second["images"]) == 1

    for bad, words in [
        ({"num_images": 10**6}, "between 1 and 256"),
        ({"nfe": 0}, "between 1 and 64"),
        ({"label": 10}, "label must be the name or the number of a class, got 10"),
        ({"num_image": 1}, "Did you mean 'num_images'"),
    ]:
        with pytest.raises(ValueError, match=words):
            generator.predict([bad])


@pytest.mark.slow
def test_a_fresh_python_in_the_project_folder_finds_the_champion(backend, finished_model, scores, monkeypatch):
    model = finished_model()
    register(model, scores(26.0), backend)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    request = "[{'num_images': 16, 'nfe': 1, 'seed': 0}]"
    code = f"import json, mlflow; m = mlflow.pyfunc.load_model('{CHAMPION}'); print(json.dumps(m.predict({request})))"
    place = backend.database.parent
    said = subprocess.run([sys.executable, "-c", code], cwd=place, env=os.environ, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    pictures = [decoded(picture) for picture in json.loads(said.stdout)[0]["images"]]
    assert np.array_equal(pictures, model.load().sample(nfe=1, seed=0, indices=range(16))[:, 0])
