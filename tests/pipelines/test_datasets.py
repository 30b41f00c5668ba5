"""The catalog as `kedro viz` shows it."""

import base64
import inspect
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from PIL import Image

from fewstep.pipelines.datasets import PictureDataset

CATALOG = yaml.safe_load((Path(__file__).parents[2] / "conf/base/catalog.yml").read_text())
KEPT = [name for name, entry in CATALOG.items() if "data/" in str(entry)]


@pytest.mark.parametrize("name", KEPT)
def test_a_dataset_is_drawn_in_the_layer_of_its_folder(name):
    assert CATALOG[name]["metadata"]["kedro-viz"]["layer"] == CATALOG[name]["filepath"].split("/")[1]


def test_a_picture_is_shown(tmp_path):
    dataset = PictureDataset(filepath=str(tmp_path / "a.png"))
    dataset.save(Image.new("RGB", (3, 2), "red"))
    with Image.open(BytesIO(base64.b64decode(dataset.preview()))) as shown:
        assert (shown.size, shown.getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert inspect.signature(dataset.preview).return_annotation.__name__ == "ImagePreview"
