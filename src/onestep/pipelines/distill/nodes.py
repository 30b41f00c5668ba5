"""Trains a student from a teacher."""

from onestep.pipelines.training import make_job, run_training


def train_student(images, teacher, runs, tracking, parameters: dict):
    """A student of the chosen recipe."""
    job = make_job(parameters["recipe"], parameters["student"], images, teacher)
    return run_training(job, runs, parameters, tracking)
