"""Where a run comes from."""

import hashlib
import subprocess

import pytest

from fewstep.tracking import git_state, lock_state, run_tags, run_title
from fewstep.tracking.lineage import flatten


def test_the_state_of_a_working_tree(tmp_path):
    assert git_state(tmp_path) == {"git_commit": "unknown", "git_dirty": "unknown"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    clean = git_state(tmp_path)
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] == "false"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metrics.json").touch()
    assert git_state(tmp_path) == clean
    (tmp_path / "new").touch()
    assert git_state(tmp_path) == {**clean, "git_dirty": "true"}


def test_no_git_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    tags = run_tags("cd", "d" * 64, env="moons", project=tmp_path)
    assert (tags["git_commit"], tags["env"]) == ("unknown", "moons")


def test_the_command_is_what_was_typed(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/kedro", "run", "--params=recipe=cd,note=a b"])
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    tags = run_tags("cd", "d" * 64)
    assert (tags["command"], tags["env"]) == ("kedro run '--params=recipe=cd,note=a b'", "base")
    assert tags["mlflow.source.name"] == tags["command"]


@pytest.mark.parametrize(
    "training, title",
    [
        ({"images": 64_000, "learning_rate": 1e-3}, "cd 64k lr=0.001"),
        ({"images": 200_000_000, "learning_rate": 2.5e-4}, "cd 200M lr=0.00025"),
        ({"images": 640, "learning_rate": 1e-5}, "cd 640 lr=1e-05"),
        ({}, "cd"),
        (None, "cd"),
    ],
)
def test_a_training_is_called_so_that_it_differs_from_others(training, title):
    assert run_title("cd", {"training": training}) == title


def test_params_are_flat_and_within_limits():
    flat = flatten({"a": {"b": 1, "c": {"d": [1, 2], "e": None}}, "f": {}, "odd(name)": True, "g": "text"})
    assert flat == {"a.b": "1", "a.c.d": "[1, 2]", "a.c.e": "null", "f": "{}", "odd_name_": "true", "g": "text"}
    long = flatten({"a": "x" * 9000})["a"]
    assert len(long) == 6000
    assert long.endswith("(9000 characters, see params.json)")


def test_the_hash_of_dvc_lock_names_the_data_and_the_models(tmp_path):
    assert lock_state(tmp_path) == {}
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    assert lock_state(tmp_path) == {"dvc_lock_sha256": hashlib.sha256(b"stages: {}\n").hexdigest()}
