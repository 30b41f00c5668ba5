"""Scores while it trains: they change nothing of the training, unless they are asked to choose."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from fewstep.data import ingest
from fewstep.evaluation.features.choice import choose_extractor
from fewstep.models.model import SavedModel
from fewstep.pipelines.training import scores_in_words
from fewstep.registry.card import _chosen
from fewstep.training import scoring
from fewstep.training.checkpoint import checkpoints, newest_facts, part_of, read_checkpoint
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.loop import Training, train
from fewstep.training.scoring import ScoreHistory, TrainingScores, nfes_of

TINY = {"images": 160, "batch_size": 16, "checkpoint_every": 64, "progress_every": 80, "pictures_every": 1000}
SCORED = {"scores_every": 32, "scores_count": 20}
NAMES = ["wasserstein/training_nfe_01", "wasserstein/training_nfe_02"]

PROCESS = """
import pickle, sys
from pathlib import Path

import torch
from torch import distributed

from fewstep.training.loop import Worker, train

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
train(pickle.loads((folder / "job").read_bytes()), folder / "run", Worker(rank, 2))
"""


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scoring")
    store = ingest({"name": "moons", "count": 200}, folder / "moons")
    choose_extractor(store, "digits", None, folder / "features")
    return store


@pytest.fixture(scope="module")
def job(points, small_job):
    """A function of the settings of training: the job of a student of points."""
    features = str(points.folder.parent / "features")

    def make(**training):
        network = {"name": "mlp", "channels": 16, "num_blocks": 1, "dropout": 0.1}
        return replace(small_job("ct", points, "consistency_training", network, TINY | training), features=features)

    return make


@pytest.fixture(scope="module")
def run(job, tmp_path_factory):
    """The folder of a training that was scored."""
    return train(job(**SCORED), tmp_path_factory.mktemp("run")).parent


def lines_of(run):
    return [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]


def scores_of(run):
    return {line["images"]: [line[name] for name in NAMES] for line in lines_of(run) if NAMES[0] in line}


@pytest.fixture
def given(monkeypatch):
    """A function that gives the scores, in their order, in place of measured ones."""

    def give(*values):
        rest = iter(values)
        monkeypatch.setattr(TrainingScores, "_scores", lambda *_: [next(rest), 0.0])

    return give


def test_scores_are_in_the_lines_of_progress_and_leave_the_training_alone(job, run, tmp_path):
    alone = SavedModel.open(train(job(), tmp_path)).sha256
    assert SavedModel.open(run / "model").sha256 == alone
    assert list(scores_of(run)) == [32, 64, 96, 128, 160]
    assert [line["images"] for line in lines_of(run)] == [32, 64, 80, 96, 128, 160]
    assert len({tuple(scores) for scores in scores_of(run).values()}) == 5
    assert lines_of(run)[-1]["seconds_lost_to_scores"] > 0
    assert job(**SCORED).run_name == job().run_name == job(**SCORED | {"scores_count": 30}).run_name


def test_scores_are_a_function_of_the_weights_and_no_report_has_their_noise(job, run):
    model = SavedModel.open(run / "model").load()
    training = Training(job(**SCORED), run)  # at its end, where its newest checkpoint is
    found = TrainingScores(training)
    assert training.step == 10 and found._scores(model) == scores_of(run)[160] == found._scores(training.model())
    assert scoring.SEED < -1 and model.sha256 == SavedModel.open(run / "model").sha256


def test_the_best_checkpoint_stays_beside_the_last(job, given, tmp_path):
    given(5.0, 3.0, 4.0, 4.0, 3.0)
    train(job(**SCORED), tmp_path)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == [
        "step_000000004",  # the first of equal ones
        "step_000000008",
        "step_000000010",
    ]
    facts = newest_facts(tmp_path / "checkpoints")
    assert facts["scores"] == [[2, 5, 0], [4, 3, 0], [6, 4, 0], [8, 4, 0], [10, 3, 0]]


def test_a_training_can_end_with_its_best_weights_and_stop_when_it_gets_no_better(job, given, tmp_path):
    given(5.0, 3.0, 4.0, 4.0)
    asked = job(**SCORED, patience=2, result="best")
    model = SavedModel.open(train(asked, tmp_path))
    assert list(scores_of(tmp_path)) == [32, 64, 96, 128], "it stops before its end"
    best = read_checkpoint(tmp_path / "checkpoints/step_000000004")[0]
    weights = model.load("cpu").function.state_dict()
    assert all(weights[name].equal(tensor) for name, tensor in part_of(best, "average").items())
    made = model.spec.provenance
    assert made.images == 64
    assert made.more["scored"] == {"result": "best", "best_at": 64, "score": 3.0, "scores": 4, "trained": 128}
    assert "It is the best by 4 scores while it trained" in _chosen(made.more["scored"])
    assert "that at 64 of 128 images" in _chosen(made.more["scored"])
    given(5.0, 3.0, 4.0, 4.0)
    last = SavedModel.open(train(job(**SCORED, patience=2), tmp_path / "last"))
    assert last.spec.provenance.images == 128 and last.sha256 != model.sha256
    assert "ended at 128 images, watched by" in _chosen(last.spec.provenance.more["scored"])


@pytest.mark.parametrize("killed_at", [5, 9])
def test_a_killed_training_ends_with_the_same_best(job, tmp_path, monkeypatch, killed_at):
    asked = job(**SCORED, patience=3, result="best")
    whole = SavedModel.open(train(asked, tmp_path / "whole"))
    step = Training.make_step

    def dying(training):
        if training.step == killed_at:
            raise KeyboardInterrupt
        step(training)

    monkeypatch.setattr(Training, "make_step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "killed")
    monkeypatch.setattr(Training, "make_step", step)
    again = SavedModel.open(train(asked, tmp_path / "killed"))
    assert again.sha256 == whole.sha256
    assert again.spec.provenance.more["scored"] == whole.spec.provenance.more["scored"]
    facts = [newest_facts(tmp_path / name / "checkpoints")["scores"] for name in ("whole", "killed")]
    assert facts[0] == facts[1]


@pytest.mark.slow
def test_two_workers_stop_together(job, tmp_path):
    """Points are scored by distances of a thousandth or more, and the weights of two workers differ by less."""
    asked = job(**SCORED, patience=1)
    alone = SavedModel.open(train(asked, tmp_path / "alone")).spec.provenance.images
    (tmp_path / "job").write_bytes(pickle.dumps(asked))
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert SavedModel.open(tmp_path / "run/model").spec.provenance.images == alone
    near = {images: pytest.approx(found, rel=1e-3) for images, found in scores_of(tmp_path / "alone").items()}
    assert scores_of(tmp_path / "run") == near


def test_settings_by_which_scores_choose_are_part_of_the_name(job):
    names = [job().run_name]
    for more in ({"patience": 2}, {"result": "best"}, {"result": "best", "scores_count": 30}):
        names.append(job(**SCORED | more).run_name)
    names.append(job(**SCORED | {"scores_every": 48, "patience": 2}).run_name)
    assert len(set(names)) == len(names)
    assert "evaluation" in job(**SCORED, patience=2).numerics and "evaluation" not in job(**SCORED).numerics


def test_what_cannot_be_scored_is_said_before_any_step(job, tmp_path):
    with pytest.raises(ValueError, match="scores_every must be above 0 with patience, which goes by scores, got 0"):
        TrainingSettings(patience=3)
    with pytest.raises(ValueError, match="scores_every must be above 0 with result: best"):
        TrainingSettings(result="best")
    with pytest.raises(ValueError, match="result must be last or best|'bst'"):
        TrainingSettings(result="bst", scores_every=10)
    with pytest.raises(ValueError, match="scores_every of ct needs the features that ingest chooses"):
        train(replace(job(**SCORED), features=None), tmp_path)


def test_a_history_knows_the_best_and_for_how_long():
    history = ScoreHistory()
    assert (history.best, history.since_best) == (None, 0)
    for step, score in ((2, 5.0), (4, 3.0), (6, 3.0), (8, 4.0)):
        history = history.after(step, (score, 1.0))
    assert (history.best, history.since_best) == (4, 2)
    assert ScoreHistory.from_json(json.loads(json.dumps(history.to_json()))) == history


def test_a_teacher_is_scored_at_the_nfe_of_its_pictures(digits, small_job, job):
    network = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1}
    teacher = small_job("teacher", digits, "denoising", network, picture_nfe=(17,))
    assert nfes_of(teacher.recipe) == (17,) and nfes_of(job().recipe) == (1, 2)


def test_scores_in_words():
    scores = {"fid_digits/training_nfe_01": 31.234, "fid_digits/training_nfe_02": 20.1}
    assert scores_in_words(scores) == ", fid_digits 31.23 at 1 NFE, 20.1 at 2 NFE"
    assert scores_in_words({}) == ""
