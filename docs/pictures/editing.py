"""Draws editing.png by the digits' student, after `kedro run`: python docs/pictures/editing.py"""

from argparse import ArgumentParser
from pathlib import Path

import yaml

from fewstep.data.store import ArrayStore
from fewstep.models.model import Model
from fewstep.pipelines.edit.nodes import edit_gallery

PROJECT = Path(__file__).parents[2]


def main():
    parser = ArgumentParser(description=__doc__)
    for name, place in (
        ("student", "06_models/digits/cd"),
        ("teacher", "06_models/digits/teacher"),
        ("images", "02_intermediate/digits/images"),
    ):
        parser.add_argument(f"--{name}", type=Path, default=PROJECT / "data" / place)
    given = parser.parse_args()
    editing = yaml.safe_load((PROJECT / "conf/base/parameters/editing.yml").read_text())["editing"]
    editing = {"source": None, "degrade": True, **editing}
    models = Model.load(given.student), Model.load(given.teacher)
    gallery, _, _ = edit_gallery(ArrayStore.open(given.images), *models, editing, PROJECT / "runs/digits")
    gallery.quantize(64).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
