"""Draws editing.png by the digits' student, after `kedro run`: python docs/pictures/editing.py"""

from argparse import ArgumentParser
from pathlib import Path

from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.edit.nodes import edit_gallery
from fewstep.settings import CONFIG_LOADER_ARGS

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
    editing = RecipeConfigLoader(str(PROJECT / "conf"), env="base", **CONFIG_LOADER_ARGS).parameters.editing
    models = SavedModel.open(given.student), SavedModel.open(given.teacher)
    gallery, *_ = edit_gallery(ArrayStore.open(given.images), *models, None, editing)
    gallery.quantize(64).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
