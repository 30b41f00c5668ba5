"""Trains a student from data alone."""

from fewstep.pipelines.training import make_job, run_training


def train_student_alone(images, recipe: dict, *workplace):
    """A student of the chosen recipe, which has no teacher."""
    return run_training(make_job(recipe, images), images.space.name, *workplace)
