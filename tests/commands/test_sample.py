"""`fewstep sample`, as typed."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

from fewstep.cli import main
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
    assert np.abs(drawn - tile(model.sample(1, 0, range(5)))).max() <= 1


@pytest.mark.parametrize(
    "name, message",
    [
        ("five.pgn", "a picture (.png, .jpg, .webp, ...) or an array (.npy)"),
        ("five", "a picture (.png, .jpg, .webp, ...) or an array (.npy)"),
        ("nowhere/five.png", "there is no folder"),
        ("nowhere/five.npy", "there is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_model_is_looked_for(name, message, tmp_path):
    told = typed([str(tmp_path / name), "--model", str(tmp_path / "no model")], 1)
    assert message in told
