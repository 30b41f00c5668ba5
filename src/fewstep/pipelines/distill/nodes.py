"""Trains a student from a teacher."""

from fewstep.pipelines.training import make_job, run_training


def train_student(images, teacher, recipe: dict, *workplace):
    """A student of the chosen recipe."""
    return run_training(make_job(recipe, images, teacher), images.space.name, *workplace)
