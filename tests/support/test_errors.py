"""The family of errors that a user can put right; nothing under src raises another class on purpose."""

import ast
import errno
import pickle
from pathlib import Path

import pytest

import fewstep
from fewstep.support.errors import (
    FAMILY,
    Divergence,
    InvalidInput,
    OutOfMemory,
    StorageError,
    Unreachable,
    UserError,
    family_of,
    reason_of,
)
from fewstep.support.names import check_arguments, check_name

SOURCES = Path(fewstep.__file__).parent
BARE = {"ValueError", "OSError", "RuntimeError", "TypeError", "ConnectionError", "FileNotFoundError", "Exception"}
ON_PURPOSE = {
    "networks/dual.py": "jvp is called by objectives alone: a wrong call is a bug",
    "launch.py": "bugs of workers",
    "objectives/__init__.py": "a file of objectives/ without its one class is a bug of whoever wrote it",
}


@pytest.mark.parametrize(
    "kind, older",
    [
        (InvalidInput, ValueError),
        (StorageError, OSError),
        (Unreachable, ConnectionError),
        (Divergence, RuntimeError),
        (OutOfMemory, MemoryError),
    ],
)
def test_each_is_still_what_it_was(kind, older):
    error = kind("a sentence")
    assert isinstance(error, UserError) and isinstance(error, older)
    assert str(error) == "a sentence" == str(pickle.loads(pickle.dumps(error)))
    assert family_of(error) == kind.__name__ and FAMILY[kind.__name__] is kind


def test_a_storage_error_keeps_the_number_of_the_system():
    error = StorageError("the disk is full", errno.ENOSPC)
    assert error.errno == errno.ENOSPC and str(error) == "the disk is full"


def test_an_error_of_a_field_can_be_said_from_its_section():
    error = InvalidInput.of("clip", -1, "at least 0")
    assert str(error) == "clip must be at least 0, got -1"
    assert str(error.inside("training").inside("teacher")) == "teacher.training.clip must be at least 0, got -1"
    assert str(InvalidInput("there is no file x").inside("data")) == "data: there is no file x"


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(InvalidInput) as caught:
        check_name("solver", "hen", ("heun", "euler"))
    assert str(caught.value) == "There is no solver 'hen'. Did you mean 'heun'? Allowed: euler, heun."
    with pytest.raises(InvalidInput, match="^There is no argument 'stepz' of the sampler. Did you mean 'steps'"):
        check_arguments("the sampler", lambda x, steps: None, {"stepz": 1}, bound=("x",))


def test_no_module_raises_a_bare_class_on_purpose():
    found = set()
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            raised = node.exc if isinstance(node, ast.Raise) else None
            name = getattr(raised.func if isinstance(raised, ast.Call) else raised, "id", None)
            if name in BARE:
                found.add(file.relative_to(SOURCES).as_posix())
    assert found <= ON_PURPOSE.keys(), f"raise a class of support/errors.py instead: {found - ON_PURPOSE.keys()}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.json"), "No such file or directory"),
        (OSError("image file is truncated"), "image file is truncated"),
        (KeyError("space"), "space is missing"),
        (ValueError(), "ValueError"),
        (StorageError("the disk is full", 28), "the disk is full"),
    ],
)
def test_the_reason_of_an_error_has_no_numbers_of_the_system(error, words):
    assert reason_of(error) == words
