"""Trains a student, from a teacher or from data alone, as its recipe says."""

from fewstep.data.latent_store import LatentStore
from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel
from fewstep.pipelines.training import run_recipe
from fewstep.pipelines.workplace import Workplace
from fewstep.training.recipe import Recipe


def train_student(
    images: ArrayStore, latents: LatentStore | None, teacher: SavedModel | None, recipe: Recipe, workplace: Workplace
) -> SavedModel:
    """A student of the chosen recipe, after its earlier recipe if it has one.

    latents: what it is trained on, if there are any. teacher: of recipes that need one.
    """
    return run_recipe(recipe, latents or images, teacher, images.space.name, workplace)
