"""One noise on its way to an image, and the estimates of teacher and student at every level."""

import numpy as np
import torch
from torch import Tensor

from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.diffusion.solvers import heun_step
from fewstep.models.model import Model
from fewstep.samplers.level_checks import each


@torch.inference_mode()
def trajectories(
    teacher: Model, student: Model, seed: int = 0, index: int = 0, shown: int = 9
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Levels [shown], and stored values [shown, ...] of each of "noisy", "teacher" and "student".

    noisy: points of the teacher's ODE (Heun), scaled to the standard deviation of data. The others: estimates of the
    clean image at these points. Those of a consistent student are all the same (Song et al. 2023, Definition 1); those
    of a teacher change from the mean of the data to a single image.
    """
    denoiser, noise = _function(teacher, seed, index)
    estimate, _ = _function(student, seed, index)
    levels, width = karras_levels(2 * shown), teacher.function.sigma_data
    x = levels[0].to(noise) * noise
    seen: dict[str, list[Tensor]] = {"noisy": [], "teacher": [], "student": []}
    for step, (level, lower) in enumerate(zip(levels, [*levels[1:], None], strict=True)):
        sigma = each(level, x)
        if step % 2 == 0:
            seen["noisy"].append(x * (width / (width**2 + level**2).sqrt()).to(x))
            seen["teacher"].append(denoiser(x, sigma))
            seen["student"].append(estimate(x, sigma))
        if lower is not None:
            x = heun_step(denoiser, x, sigma, each(lower, x))
    stored = {name: np.concatenate([teacher.space.decode(x) for x in found]) for name, found in seen.items()}
    return levels[::2].tolist(), stored


def _function(model: Model, seed: int, index: int):
    """A model's function of (x, sigma), with its label as Model.sample draws it, and the noise before that."""
    rng = SampleRandomness(seed, [index], model.device)
    noise = rng.normal(model.space.model_shape)
    return model.conditioned(None, rng), noise
