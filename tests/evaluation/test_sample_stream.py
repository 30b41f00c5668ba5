"""Samples on disk: the same whatever the batch, taken up where they were left."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from fewstep.data.space import DataSpace
from fewstep.evaluation.counting import count_evaluations
from fewstep.evaluation.sample_stream import in_batches, stream
from fewstep.support.errors import OutOfMemory

SPACE = DataSpace("digits", "images", (1, 8, 8), 0.66)
SPEC = {
    "name": "cd",
    "network": {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1},
    "preconditioning": {"name": "consistency"},
    "labels": False,
}


def samples_of(model, **how):
    """A function of indices, as the stream calls it."""
    return lambda indices: model.sample(indices=indices, **how)


@pytest.fixture
def model(draw_model):
    return draw_model(SPEC, SPACE)


class Interrupted(Exception):
    pass


def leaving(generate, batches):
    """generate, that goes away after so many batches."""
    left = iter(range(batches))

    def call(indices):
        if next(left, None) is None:
            raise Interrupted
        return generate(indices)

    return call


def test_the_batch_changes_no_image_by_more_than_a_grey_level(model, tmp_path):
    generate = samples_of(model, nfe=2, seed=7)
    arrays = [stream(generate, SPACE, 13, tmp_path / f"{b}.npy", {}, batch_size=b) for b in (1, 5, 13)]
    for array in arrays:
        assert array.shape == (13, 1, 8, 8) and array.dtype == np.uint8
        assert np.abs(array.astype(int) - generate(range(13))).max() <= 1
    assert isinstance(arrays[0], np.memmap)


def test_a_batch_that_does_not_fit_is_halved_and_those_after_it_are_as_small(tmp_path):
    made = []

    def generate(indices):
        if len(indices) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")
        made.append(len(indices))
        return np.full((len(indices), 1, 8, 8), indices[:, None, None, None], np.uint8)

    whole = in_batches(generate, 13, 13)
    assert made == [3, 3, 3, 3, 1] and whole[:, 0, 0, 0].tolist() == list(range(13))
    assert np.array_equal(stream(generate, SPACE, 13, tmp_path / "samples.npy", {}, batch_size=8), whole)


def test_a_single_sample_that_does_not_fit_is_said():
    def generate(indices):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")

    with pytest.raises(OutOfMemory, match="too little memory for a single sample"):
        in_batches(generate, 13, 13)


def test_what_was_left_is_taken_up_whatever_the_batches(model, tmp_path):
    generate, path, said = samples_of(model, nfe=1, seed=7), tmp_path / "samples.npy", []
    with pytest.raises(Interrupted):
        stream(leaving(generate, 2), SPACE, 20, path, {"seed": 7}, batch_size=4)
    assert not path.exists()
    (left,) = tmp_path.glob(".samples.npy.*.partial")
    left.write_bytes(left.read_bytes() + b"half a row")
    with count_evaluations(model.function) as counted:
        found = stream(generate, SPACE, 20, path, {"seed": 7}, 5, lambda *progress: said.append(progress))
    assert counted.samples == 12
    assert said == [(13, 20), (18, 20), (20, 20)]
    assert np.abs(found.astype(int) - generate(range(20))).max() <= 1
    assert [file.name for file in tmp_path.iterdir()] == ["samples.npy"]


def test_what_something_else_left_is_not_taken_up(model, tmp_path):
    with pytest.raises(Interrupted):
        stream(leaving(samples_of(model, nfe=1, seed=7), 2), SPACE, 20, tmp_path / "a.npy", {"seed": 7}, 4)
    found = stream(samples_of(model, nfe=1, seed=8), SPACE, 20, tmp_path / "a.npy", {"seed": 8}, 4)
    assert np.abs(found.astype(int) - model.sample(nfe=1, seed=8, indices=range(20))).max() <= 1


def test_an_interrupted_run_leaves_an_older_file_alone(model, tmp_path):
    generate = samples_of(model, nfe=1, seed=7)
    older = np.array(stream(generate, SPACE, 3, tmp_path / "a.npy", {}))
    with pytest.raises(Interrupted):
        stream(leaving(generate, 1), SPACE, 20, tmp_path / "a.npy", {}, 4)
    assert np.array_equal(np.load(tmp_path / "a.npy"), older)


def test_points_are_float32(tmp_path):
    space = DataSpace("moons", "points", (2,), 1.0)
    found = stream(lambda i: np.stack([i, -i], 1).astype("f4"), space, 7, tmp_path / "p.npy", {}, 3)
    assert found.dtype == np.float32 and found[:, 1].tolist() == [0, -1, -2, -3, -4, -5, -6]


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"count": 0}, "at least 1"), ({"batch_size": 0}, "at least 1"), ({"path": "a.png"}, "must end in .npy")],
)
def test_bad_input_fails_before_any_work(tmp_path, changed, words):
    def never(indices):
        raise AssertionError("work began")

    given = {"count": 3, "path": "a.npy", **changed}
    with pytest.raises(ValueError, match=words):
        stream(never, SPACE, path=tmp_path / given.pop("path"), made_by={}, **given)


WRITER = """
import sys, time
import numpy as np
from fewstep.data.space import DataSpace
from fewstep.evaluation.sample_stream import stream
def slow(indices):
    print("writing", flush=True)
    time.sleep(60)
stream(slow, DataSpace("moons", "points", (2,), 1.0), 7, sys.argv[1], {})
"""


def test_a_file_has_one_writer_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    space, path = DataSpace("moons", "points", (2,), 1.0), tmp_path / "p.npy"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "writing\n"
    for made_by in ({}, {"seed": 1}):
        with pytest.raises(ValueError, match="another process is writing .*p.npy: wait until it ends, or name"):
            stream(lambda i: np.stack([i, -i], 1).astype("f4"), space, 7, path, made_by)
    writer.kill()
    writer.wait()
    stream(lambda i: np.stack([i, -i], 1).astype("f4"), space, 7, path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["p.npy"]
