"""Trains the teacher."""

from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel
from fewstep.pipelines.training import run_training
from fewstep.pipelines.workplace import Workplace
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe


def train_teacher(images: ArrayStore, recipe: Recipe, workplace: Workplace) -> SavedModel:
    """An EDM denoiser of these images."""
    return run_training(Job.of(recipe, images), images.space.name, workplace)
