"""Trains the teacher."""

from fewstep.pipelines.training import make_job, run_training


def train_teacher(images, recipe: dict, *workplace):
    """An EDM denoiser of these images."""
    return run_training(make_job(recipe, images), images.space.name, *workplace)
