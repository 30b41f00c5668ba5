"""The ends of runs and moves of the champion are told to whoever asked."""

import json

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from fewstep.cli import cli, main
from fewstep.commands.project import context_of
from fewstep.pipelines.notices import Notices
from fewstep.registry import register
from fewstep.support.errors import Divergence

pytestmark = pytest.mark.slow


@pytest.fixture
def told(here, monkeypatch):
    """A project that tells a command, and a function that gives what that was told."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bootstrap_project(here)
    setting = json.dumps([f"cat >> {here}/told; echo >> {here}/told"])
    (here / "conf" / "local" / "parameters.yml").write_text(f"tracking: {{notify: {setting}}}\n")
    return lambda: [json.loads(line) for line in (here / "told").read_text().splitlines()]


def test_a_run_that_has_finished_is_told(told):
    result = CliRunner().invoke(cli, ["run", "--pipelines=ingest"])
    assert result.exit_code == 0, result.output
    (said,) = told()
    assert said["event"] == "finished" and said["text"] == "ingest of cd on digits has finished"
    assert (said["dataset"], said["recipe"], said["env"]) == ("digits", "cd", "local")


def test_a_divergence_is_told_from_another_failure(told):
    catalog = context_of(None).catalog
    for error in (Divergence("the loss is nan at step 7"), RuntimeError("a bug")):
        Notices().on_pipeline_error(error, {"pipeline_names": ["distill"]}, catalog)
    first, second = told()
    assert first["event"] == "diverged" and first["text"].endswith("has diverged: the loss is nan at step 7")
    assert second["event"] == "failed" and second["text"].endswith("has failed: RuntimeError: a bug")


def test_a_new_champion_is_told(told, backend, finished_model, scores):
    for seed in (0, 1):
        register(finished_model(seed), scores(26.0 - seed), backend)
    words = ("registry", "promote", "--version", "2", "--force", "--reason", "it looks better")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    (said,) = told()
    assert (said["event"], said["version"], said["previous"], said["kind"]) == ("champion", 2, 1, "forced")
    assert "digits: version 2 is champion (forced by " in said["text"] and "it looks better" in said["text"]
