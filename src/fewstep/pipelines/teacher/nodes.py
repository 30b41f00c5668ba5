"""Trains the teacher."""

from fewstep.data.latent_store import LatentStore
from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel
from fewstep.pipelines.training import run_training
from fewstep.pipelines.workplace import Workplace
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe


def train_teacher(images: ArrayStore, latents: LatentStore | None, recipe: Recipe, workplace: Workplace) -> SavedModel:
    """An EDM denoiser of these images, or of their latents."""
    return run_training(Job.of(recipe, latents or images), images.space.name, workplace)
