"""Trainings beside MLflow: real event files, and what is not installed or fails costs nothing."""

import sqlite3
import struct
import sys

import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from fewstep.support.errors import InvalidInput
from fewstep.tracking import Follower, TrackingSettings, open_run
from fewstep.tracking.mirrors import MIRRORS, Mirrors, TensorBoard, check_mirrors


def events(folder):
    """(step, name, value) of event files, whose records are a length, its checksum, the event, its checksum."""
    found = []
    for file in sorted((folder / "tensorboard").glob("events.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            for value in event.summary.value:
                found.append((event.step, value.tag, value.simple_value or value.image.width))
            place += length + 16
    return found


def draw(folder, name):
    (folder / "pictures").mkdir(exist_ok=True)
    Image.new("L", (64, 32)).save(folder / "pictures" / f"{name}.png")


def train(folder, backend, *images, write):
    """A session of a training that writes these lines."""
    run = open_run(folder, "digits", "cd", backend, {"a": 1}, mirrors=["tensorboard"])
    with run, Follower(folder, [run], seconds=0.01):
        write(*images)


def test_tensorboard_has_numbers_and_pictures_of_every_session_once(backend, write_progress, scores):
    folder = write_progress(10)
    draw(folder, "samples_nfe1_000000010")
    train(folder, backend, 20, write=write_progress)
    draw(folder, "samples_nfe2_000000010")  # of the same moment, but late
    train(folder, backend, 20, 30, write=write_progress)  # a resumed training repeats a line
    open_run(folder, "digits", "cd", backend, mirrors=["tensorboard"]).log_scores(scores(26.0).means_of("cd"))
    found = events(folder)
    assert [(step, value) for step, name, value in found if name == "loss"] == [
        (10, pytest.approx(0.1)),
        (20, pytest.approx(0.05)),
        (30, pytest.approx(1 / 30)),
    ]
    assert [(step, name, width) for step, name, width in found if name.startswith("samples")] == [
        (10, "samples_nfe1", 64),
        (10, "samples_nfe2", 64),
    ]
    assert (30, "fid_digits/nfe_01", 26.0) in found
    assert {name for _, name, _ in found} >= {"learning_rate", "grad_norm"}


def test_a_mirror_that_fails_is_left_out_with_a_warning(backend, write_progress, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("the disk of the mirror is gone")

    monkeypatch.setattr(TensorBoard, "numbers", fail)
    folder = write_progress(10)
    train(folder, backend, 20, write=write_progress)
    assert caplog.text.count("the disk of the mirror is gone") == 1
    run = open_run(folder, "digits", "cd", backend)
    assert [point.step for point in backend.client().get_metric_history(run.run_id, "loss")] == [10, 20]


@pytest.mark.parametrize("damage", ["{", "[1]", '{"tensorboard": 5}'])
def test_what_was_shown_is_shown_again_where_nobody_knows(tmp_path, damage):
    (tmp_path / "mirrors.json").write_text(damage)
    mirrors = Mirrors(tmp_path, ["tensorboard"], "digits", "cd", {})
    mirrors.open()
    mirrors([{"images": 10, "loss": 0.5}], [])
    mirrors.close()
    assert events(tmp_path) == [(10, "loss", 0.5)]


def test_names_and_packages_are_checked_before_work(monkeypatch):
    with pytest.raises(InvalidInput, match=r"no mirror 'tensorbord'. Did you mean 'tensorboard'"):
        TrackingSettings(mirrors=("tensorbord",))
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("fewstep.tracking.mirrors.find_spec", lambda package: package == "tensorboardX" or None)
    check_mirrors(["tensorboard"])
    with pytest.raises(InvalidInput, match=r"wandb needs the package wandb: pip install 'fewstep\[wandb\]'"):
        check_mirrors(["tensorboard", "wandb"])


def content_of(name, folder):
    """All that a mirror has written below a folder, as bytes."""
    if name == "trackio":
        (file,) = folder.rglob("digits.db")
        with sqlite3.connect(file) as database:
            return repr(database.execute("SELECT step, metrics FROM metrics").fetchall()).encode()
    return b"".join(file.read_bytes() for file in folder.rglob("*.wandb"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MIRRORS if name != "tensorboard"])
def test_the_others_write_offline_too(name, tmp_path, monkeypatch, write_progress):
    for variable, value in {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}.items():
        monkeypatch.setenv(variable, value)  # which are read at the import
    pytest.importorskip(name, reason="not in requirements-extras.lock")
    folder = write_progress(10)
    draw(folder, "samples_nfe1_000000010")
    for _ in range(2):
        mirrors = Mirrors(folder, [name], "digits", "cd", {"a": 1})
        mirrors.open()
        with Follower(folder, [mirrors], seconds=0.01):
            pass
        mirrors.close()
    mirrors.log_scores({"fid_digits/nfe_01": 26.0}, 10)
    content = content_of(name, tmp_path)
    assert b"samples_nfe1" in content and b"fid_digits/nfe_01" in content
    assert content.count(b"grad_norm") == 1 or name == "wandb"
