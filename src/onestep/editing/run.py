"""Editing by a finished student (onestep.training.model.Model)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from onestep.diffusion.levels import karras_levels
from onestep.diffusion.names import check_name
from onestep.diffusion.randomness import SampleRandomness
from onestep.editing.interpolation import StripRandomness
from onestep.editing.tasks import Interpolate, Task
from onestep.samplers import carry_to_noise


def check_model(model, task: Task, steps: int) -> None:
    """Raise ValueError if this model cannot do this task in so many steps."""
    if "multistep" not in model.samplers:
        raise ValueError(
            f"{model.spec['name']} is sampled with {model.samplers[0]}: what edits is a consistency function."
        )
    if steps < 1:
        raise ValueError(f"{steps} steps: 1 is the least.")
    task.check(model.space)


def edit_images(
    model, task: Task, y: Tensor, steps: int, seed: int, labels=None, indices: Sequence[int] = ()
) -> Tensor:
    """Model values of the edited images, before they are rounded and clamped. NFE = steps.

    y: what the task is given, model values. seed: an image's result is a function of it and of its index, by default
    its place. labels: [B], as for Model.sample; or mixtures of classes, [B, classes].
    """
    rng = SampleRandomness(seed, indices or range(len(y)), model.device)
    return _edited(model, task, y, steps, rng, labels)


@torch.inference_mode()
def _edited(model, task: Task, y: Tensor, steps: int, rng, labels) -> Tensor:
    check_model(model, task, steps)
    edit = task.edit(y.to(model.device))
    levels = task.levels(steps, model.function.boundary)
    levels = model.levels(steps, "multistep") if levels is None else model.check_levels(levels)
    noise = rng.normal(model.space.shape)  # before labels: the draws are those of Model.sample
    return edit(model.conditioned(labels, rng), noise, levels, rng, model.function.boundary)


def interpolate(model, task: Interpolate, ends: Tensor, steps: int, seeds: tuple[int, int], labels=None) -> Tensor:
    """Frames between noises, [2, B, ...] -> [B * frames, ...].

    seeds: of each end's later noise, between which it goes as the first does: where ends are the noise of these seeds,
    they are their samples in as many steps. labels: [B], of all frames of a pair; or [2, B], of its ends, between which
    what the model is told of them is mixed.
    """
    rng = StripRandomness(seeds, range(ends.shape[1]), task.frames, model.device)
    if labels is not None:
        labels = torch.as_tensor(labels)
        labels = _mixed(model, labels, task) if labels.ndim == 2 else labels.repeat_interleave(task.frames)
    return _edited(model, task, ends, steps, rng, labels)


def _mixed(model, labels: Tensor, task: Interpolate) -> Tensor:
    """From the class of one end to that of the other in even steps, [B * frames, classes]."""
    rng = SampleRandomness(0, range(labels.shape[1]), model.device)
    one_hot = torch.stack([model.one_hot(end, rng).repeat_interleave(task.frames, 0) for end in labels])
    share = torch.linspace(0, 1, task.frames, device=model.device).repeat(labels.shape[1])[:, None]
    return torch.lerp(*one_hot, share)


def seeds_noise(model, seeds: Sequence[int], count: int) -> Tensor:
    """The noises of samples 0 to count - 1 of each seed, [seeds, count, ...]."""
    return torch.stack([SampleRandomness(s, range(count), model.device).normal(model.space.shape) for s in seeds])


@torch.inference_mode()
def images_noise(teacher, x0: Tensor, nfe: int = 78, labels=None) -> Tensor:
    """The noises of images [B, ...], model values: carried there by the teacher's ODE.

    labels: [B], drawn where a class-conditional teacher is not told them.
    """
    check_name("sampler of this teacher", "heun", teacher.samplers)
    denoiser = teacher.denoiser(labels, SampleRandomness(0, range(len(x0)), teacher.device))
    return carry_to_noise(denoiser, x0.to(teacher.device), karras_levels(nfe // 2 + 1))
