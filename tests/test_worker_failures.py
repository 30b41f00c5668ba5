"""What a worker raises crosses to the driver as JSON: the user's error as itself, a bug with the worker's traceback."""

import errno
import json
from types import SimpleNamespace

import pytest
import torch

from fewstep.data.decoding import BrokenPicture
from fewstep.launch import _given_up, _left_alone, describe_failure, rebuild_failure
from fewstep.support.errors import Divergence, InvalidInput, OutOfMemory, StorageError, Unreachable, UserError
from fewstep.support.memory import naming_lack_of_memory


def crossed(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return rebuild_failure(json.loads(json.dumps(describe_failure(caught))))


@pytest.mark.parametrize("kind", [InvalidInput, StorageError, Unreachable, Divergence, OutOfMemory])
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


def test_a_full_disk_that_a_library_met_is_the_users():
    arrived = crossed(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert type(arrived) is StorageError and str(arrived).startswith("the disk is full: ") and "/data/x" in str(arrived)


def ask_for_too_much():
    torch.empty(2**50, dtype=torch.uint8)  # a petabyte


def fail_as(error: Exception):
    raise error


@pytest.mark.parametrize(
    ("fails", "place"),
    [
        (lambda: fail_as(torch.OutOfMemoryError("CUDA out of memory")), "GPU"),
        (lambda: fail_as(MemoryError()), "machine"),
        (ask_for_too_much, "machine"),
    ],
)
def test_too_little_memory_is_the_users_and_says_what_to_set(fails, place):
    words = f"the {place} has too little memory for cd. Set less."
    with pytest.raises(OutOfMemory, match=words), naming_lack_of_memory("cd", "Set less."):
        fails()


def test_any_other_error_of_pytorch_stays_a_bug():
    with pytest.raises(RuntimeError, match="mat1"), naming_lack_of_memory("cd", "Set less."):
        torch.ones(2, 3) @ torch.ones(2, 3)


def failed(**failures: Exception) -> Exception:
    error = RuntimeError("Training failed due to worker errors")
    error.worker_failures = failures
    return error


def test_workers_that_are_killed_again_and_again_are_a_machine_without_memory():
    from ray.exceptions import ActorDiedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    killed = WorkerHealthCheckFailedError("Worker 0 is dead", ActorDiedError())
    job = SimpleNamespace(name="cd")
    given_up = _given_up(job, failed(first=killed, second=RuntimeError("connection closed by peer")))
    assert type(given_up) is OutOfMemory and "micro_batch_size" in str(given_up)
    given_up = _given_up(job, failed(first=RuntimeError("size mismatch")))
    assert type(given_up) is RuntimeError and not isinstance(given_up, UserError)


def test_a_leader_that_is_killed_is_a_machine_without_memory():
    from ray.exceptions import ActorDiedError, GetTimeoutError
    from ray.exceptions import OutOfMemoryError as RaysOutOfMemory

    job = SimpleNamespace(name="cd")
    for killed in (RaysOutOfMemory("7 workers were killed.\nmany lines"), ActorDiedError()):
        told = _left_alone(job, killed)
        assert type(told) is OutOfMemory and "The same command goes on" in str(told) and "many lines" not in str(told)
    other = GetTimeoutError("late")
    assert _left_alone(job, other) is other
