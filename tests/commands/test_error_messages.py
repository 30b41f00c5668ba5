"""What a command shows: one line for what the user can put right; a traceback, the version and an address for a bug."""

import errno

import click
import pytest
from click.testing import CliRunner
from kedro.io import DatasetError

import fewstep
from fewstep.commands.error_messages import TRACEBACK, message_of, refusing
from fewstep.support.errors import InvalidInput


def shown(action, **env) -> str:
    """What a command whose work is `action` prints when it fails."""

    @click.command()
    def command():
        action()

    result = CliRunner().invoke(refusing(command), env=env)
    assert result.exit_code == 1
    return result.output


def refuse():
    raise InvalidInput("clip must be at least 0, got -1")


def wrapped():
    try:
        refuse()
    except InvalidInput as error:
        raise DatasetError("Kedro failed to save") from error


@pytest.mark.parametrize("action", [refuse, wrapped])
def test_an_error_of_the_user_is_one_line(action):
    assert shown(action) == "Error: clip must be at least 0, got -1\n"


def test_its_traceback_is_shown_on_request():
    output = shown(refuse, **{TRACEBACK: "1"})
    assert "Traceback (most recent call last)" in output and "in refuse" in output
    assert output.endswith("Error: clip must be at least 0, got -1\n")


@pytest.mark.parametrize(
    "bug", [lambda: int("7b"), lambda: list(zip([1], [], strict=True)), lambda: [].pop(), lambda: {}["x"]]
)
def test_a_bug_is_a_traceback_with_the_version_and_where_to_report_it(bug):
    output = shown(bug)
    assert output.startswith("Traceback (most recent call last)") and "Error: " not in output.splitlines()[0]
    assert output.splitlines()[-1] == (
        f"This is a bug in Fewstep {fewstep.__version__}. Please report it to the project's issue tracker."
    )


def test_a_bug_in_an_objective_is_not_shown_as_the_users_error(monkeypatch):
    from fewstep.diffusion.levels import GRID
    from fewstep.objectives import build_objective

    monkeypatch.setitem(GRID, "rho", lambda value, owner: int("7b"))
    output = shown(lambda: build_objective({"name": "consistency_distillation"}))
    assert "invalid literal for int()" in output and "This is a bug in Fewstep" in output
    assert "\nError: " not in output


def test_what_the_machine_refuses_is_the_users_whoever_says_it():
    assert message_of(OSError(errno.ENOSPC, "No space left on device", "x")) == "No space left on device: x"
    assert message_of(OSError(errno.EBADF, "Bad file descriptor")) is None


def test_kedro_speaks_for_itself_where_a_file_could_not_be_read():
    def failed(cause):
        try:
            raise DatasetError("Failed while loading data from dataset scores.json") from cause
        except DatasetError as error:
            return message_of(error)

    assert failed(FileNotFoundError("scores.json")) == "Failed while loading data from dataset scores.json"
    assert failed(KeyError("rows")) is None


def test_an_entry_of_the_catalog_without_its_file_is_no_bug():
    from kedro.io import AbstractDataset, DatasetError

    with pytest.raises(DatasetError) as caught:
        AbstractDataset.from_config("images", {"type": "fewstep.pipelines.datasets.StoreDataset"})
    found = message_of(caught.value)
    assert found and "catalog" in found and "'filepath'" in found and "\n" not in found
