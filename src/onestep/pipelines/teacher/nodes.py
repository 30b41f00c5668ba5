"""Trains the teacher."""

from onestep.pipelines.training import make_job, run_training


def train_teacher(images, runs, tracking, parameters: dict):
    """An EDM denoiser of these images."""
    return run_training(make_job("teacher", parameters["teacher"], images), runs, parameters, tracking)
