"""What a worker raises crosses to the driver as JSON: the user's error as itself, a bug with the worker's traceback."""

import json

import pytest

from fewstep.data.decoding import BrokenPicture
from fewstep.launch import describe_failure, rebuild_failure
from fewstep.support.errors import Divergence, InvalidInput, StorageError, Unreachable, UserError


def crossed(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return rebuild_failure(json.loads(json.dumps(describe_failure(caught))))


@pytest.mark.parametrize("kind", [InvalidInput, StorageError, Unreachable, Divergence])
def test_an_error_of_the_user_arrives_as_itself(kind):
    arrived = crossed(kind("a sentence"))
    assert type(arrived) is kind and str(arrived) == "a sentence"


def test_a_class_that_the_driver_does_not_know_by_name_arrives_as_the_nearest_above_it():
    assert type(crossed(BrokenPicture("a.png cannot be read"))) is InvalidInput


@pytest.mark.parametrize("bug", [ValueError("too many values"), RuntimeError("size mismatch"), OSError("odd")])
def test_a_bug_arrives_with_the_workers_traceback(bug):
    arrived = crossed(bug)
    assert type(arrived) is RuntimeError and not isinstance(arrived, UserError)
    assert "Traceback (most recent call last)" in str(arrived) and str(bug) in str(arrived)
