"""`fewstep sample`, as typed."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

import fewstep
from fewstep.cli import main
from fewstep.data.space import DataSpace
from fewstep.evaluation import sample_archive
from fewstep.models.model import SavedModel
from fewstep.networks.execution import Execution
from fewstep.pictures.sheets import tile


def typed(words: list[str], code: int) -> str:
    result = CliRunner().invoke(main, ["sample", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_a_picture_is_made_batch_by_batch(make, tmp_path):
    saved, sizes, file = make("cd"), [], tmp_path / "five.png"
    model = saved.load()
    kind = type(model.function)
    watch = register_module_forward_hook(lambda m, _, made: sizes.append(len(made)) if type(m) is kind else None)
    try:
        typed([str(file), "--model", str(saved.folder), "--n", "5", "--batch-size", "2"], 0)
    finally:
        watch.remove()
    assert sizes == [2, 2, 1]
    drawn = np.asarray(Image.open(file)).astype(int)
    assert np.abs(drawn - tile(model.sample(nfe=1, seed=0, indices=range(5)))).max() <= 1


def test_samples_are_made_in_another_precision_and_say_so(make, tmp_path):
    saved, words = make("cd"), ["--n", "3", "--precision"]
    for precision in ("fp32", "bf16"):
        typed([str(tmp_path / f"{precision}.npy"), "--model", str(saved.folder), *words, precision], 0)
    fp32, bf16 = (np.load(tmp_path / f"{precision}.npy") for precision in ("fp32", "bf16"))
    expected = saved.load().run_by(Execution("bf16")).sample(3)
    assert (fp32 == saved.load().sample(3)).all() and (bf16 == expected).all() and (fp32 != bf16).any()
    assert (fewstep.load(str(saved.folder), precision="bf16").sample(3) == expected).all()


def test_a_class_is_asked_for_by_name_or_number(make, tmp_path):
    folder = str(make("cd", labels=True).folder)
    for label, file in (("7", "number.npy"), ("#7", "also.npy")):
        typed([str(tmp_path / file), "--model", folder, "--n", "3", "--label", label], 0)
    expected = SavedModel.open(folder).load().sample(nfe=1, seed=0, indices=range(3), labels=torch.full((3,), 7))
    assert all((np.load(tmp_path / file) == expected).all() for file in ("number.npy", "also.npy"))
    told = typed([str(tmp_path / "x.png"), "--model", folder, "--label", "seven"], 1)
    assert "label must be the name or the number of a class, got 'seven'. Classes: 0, 1, 2, 3" in told
    assert typed([str(tmp_path / "x.png"), "--model", folder, "--labels"], 0).split() == list("0123456789")
    assert not (tmp_path / "x.png").exists()


def test_a_model_without_labels_says_so(make, tmp_path):
    folder = str(make("cd").folder)
    told = typed([str(tmp_path / "x.png"), "--model", folder, "--label", "7"], 1)
    assert "label must be left out, got '7': cd was trained without labels." in told
    assert "cd was trained without labels." in typed([str(tmp_path / "x.png"), "--model", folder, "--labels"], 0)


def test_a_transparent_model_makes_transparent_pictures_where_a_format_has_them(draw_model, tmp_path):
    space = DataSpace("leaves", "images", (4, 8, 12), 0.5)
    network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1}
    model = draw_model({"name": "cd", "network": network, "preconditioning": {"name": "consistency"}}, space)
    folder = str(model.save(tmp_path / "leaves").folder)
    for name, mode in (("x.png", "RGBA"), ("x.jpg", "RGB"), ("x.bmp", "RGB")):
        typed([str(tmp_path / name), "--model", folder, "--n", "2"], 0)
        assert Image.open(tmp_path / name).mode == mode
    drawn = np.asarray(Image.open(tmp_path / "x.png"))
    assert len(np.unique(drawn[2:50, 2:74, 3])) > 1  # the alpha that the model makes


def test_an_archive_is_what_openais_evaluator_reads(make, tmp_path, monkeypatch):
    saved = make("cd")
    monkeypatch.setattr(sample_archive, "ROWS", 2)
    monkeypatch.chdir(tmp_path)
    typed(["--format", "npz", "--model", str(saved.folder), "--n", "5"], 0)
    with np.load("samples.npz", allow_pickle=False) as archive:
        assert archive.files == ["arr_0"]
        found = archive["arr_0"]
    expected = saved.load().sample(nfe=1, seed=0, indices=range(5))
    assert found.dtype == np.uint8 and found.shape == (5, 8, 8, 3)
    assert np.array_equal(found, np.asarray(expected).transpose(0, 2, 3, 1).repeat(3, axis=3))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["samples.npz"]


def test_an_archive_is_of_images(draw_model, tmp_path):
    facts = {"name": "cd", "network": {"name": "mlp"}, "preconditioning": {"name": "consistency"}}
    folder = str(draw_model(facts, DataSpace("moons", "points", (2,), 1.0)).save(tmp_path / "moons").folder)
    told = typed([str(tmp_path / "x.npz"), "--model", folder], 1)
    assert "an .npz holds images, and moons has points: write an array (.npy)." in told


@pytest.mark.parametrize(
    "words, message",
    [
        ("five.pgn", "a picture (.png, .jpg, .webp, ...) or an array (.npy, .npz)"),
        ("five", "a picture (.png, .jpg, .webp, ...) or an array (.npy, .npz)"),
        ("nowhere/five.png", "there is no folder"),
        ("nowhere/five.npy", "there is no folder"),
        ("five.png --format=npz", "--format must be picture, by the name of"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_model_is_looked_for(words, message, tmp_path):
    name, *more = words.split()
    told = typed([str(tmp_path / name), "--model", str(tmp_path / "no model"), *more], 1)
    assert message in told
