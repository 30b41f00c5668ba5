"""Commands find the project's data and models, whatever they are called."""

import pytest
from click.testing import CliRunner

from fewstep.cli import main
from fewstep.registry import register

pytestmark = pytest.mark.slow


@pytest.fixture
def registered(here, backend, finished_model, scores, monkeypatch):
    """A project of the configuration of digits, in which only cats have a registered model."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register(finished_model(), scores(26.0, dataset="cats"), backend)
    return here


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.output


def test_a_command_takes_the_only_registered_model(registered):
    assert typed("sample", "a.png", "--n=2") == typed("sample", "a.png", "--n=2", "--dataset=cats")
    assert (registered / "a.png").is_file()
    code, told = typed("registry", "history")
    assert code == 0 and "- -> 1  first by" in told


def test_a_model_that_was_asked_for_and_is_not_there_is_answered_with_those_that_are(registered):
    for words in (["--dataset=dogs"], ["--env=moons"]):
        code, told = typed("sample", "a.png", *words)
        assert code == 1 and "has no registered model. There are models of: cats (--dataset=cats)" in told


def test_data_that_are_not_there_are_answered_with_those_that_are(registered):
    (registered / "data/02_intermediate/cats/images").mkdir(parents=True)
    code, told = typed("evaluate", "models:/fewstep-cats@champion", "--dataset=dogs")
    assert code == 1 and "there is no data/02_intermediate/dogs/images" in told
    assert "There are those of cats (--dataset=cats)" in told
