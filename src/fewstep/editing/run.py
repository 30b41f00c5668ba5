"""Editing by a finished student (fewstep.models.model.Model)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.editing.interpolation import KnownNoise, StripRandomness
from fewstep.editing.tasks import Interpolate, Task
from fewstep.samplers import carry_up, noises_along, sample_multistep
from fewstep.support.checks import at_least, check_value
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


def check_model(model, task: Task, steps: int) -> None:
    """Raise ValueError if this model cannot do this task in so many steps."""
    if "multistep" not in model.samplers:
        raise InvalidInput(
            f"only consistency functions edit images, and {model.spec.name} is sampled with {model.samplers[0]}."
        )
    check_value("steps", steps, at_least(1))
    task.check(model.space)


def check_teacher(student, teacher) -> None:
    """Raise ValueError unless a teacher can carry to noise what a student then edits."""
    if teacher.space.shape != student.space.shape:
        made, wanted = list(teacher.space.shape), list(student.space.shape)
        raise InvalidInput(f"the teacher must make what {student.spec.name} makes, {wanted}, got {made}.")


@torch.inference_mode()
def edit_images(
    model, task: Task, y: Tensor, steps: int, seed: int, labels=None, indices: Sequence[int] = ()
) -> Tensor:
    """Model values of the edited images, before they are rounded and clamped. NFE = steps.

    y: what the task is given, model values. seed: an image's result is a function of it and of its index, by default
    its place. labels: [B], as for Model.sample; or mixtures of classes, [B, classes].
    """
    check_model(model, task, steps)
    rng = SampleRandomness(seed, indices or range(len(y)), model.device)
    noise = rng.normal(model.space.shape)  # before labels: the draws are those of Model.sample
    edit, levels = task.edit(y.to(model.device)), levels_of(model, task, steps)
    return edit(model.conditioned(labels, rng), noise, levels, rng, model.function.boundary)


def levels_of(model, task: Task, steps: int) -> Tensor:
    """The levels at which the model is called, [steps]: the task's own, or those of its multistep sampler."""
    own = task.levels(steps, model.function.boundary)
    return model.levels(steps, "multistep") if own is None else model.check_levels(own, steps)


@torch.inference_mode()
def interpolate(model, task: Interpolate, ends, steps: int, labels=None) -> Tensor:
    """Frames between two ends of B samples each, [B * frames, ...]. NFE = steps.

    ends: where the noises of each come from, seed_ends or image_ends. labels: [B], of all frames of a pair; or [2, B],
    of its ends, between which what the model is told of them is mixed; drawn by the first end where they are not told,
    if that is one of a seed.
    """
    check_model(model, task, steps)
    rng, levels = StripRandomness(ends, task.frames), levels_of(model, task, steps)
    noise = rng.normal(model.space.shape)
    if labels is not None:
        labels = torch.as_tensor(labels)
        labels = _mixed(model, labels, task) if labels.ndim == 2 else labels.repeat_interleave(task.frames)
    function, boundary = model.conditioned(labels, rng), model.function.boundary
    return sample_multistep(function, noise, levels, rng, boundary=boundary)


def _mixed(model, labels: Tensor, task: Interpolate) -> Tensor:
    """From the class of one end to that of the other in even steps, [B * frames, classes]."""
    rng = SampleRandomness(0, range(labels.shape[1]), model.device)
    one_hot = torch.stack([model.one_hot(end, rng).repeat_interleave(task.frames, 0) for end in labels])
    share = torch.linspace(0, 1, task.frames, device=model.device).repeat(labels.shape[1])[:, None]
    return torch.lerp(*one_hot, share)


def seed_ends(model, seeds: Sequence[int], count: int = 1) -> list[SampleRandomness]:
    """Ends that are the samples 0 to count - 1 of seeds."""
    return [SampleRandomness(seed, range(count), model.device) for seed in seeds]


@torch.inference_mode()
def image_ends(model, teacher, x0: Tensor, steps: int, labels=None, nfe: int = 78) -> list[KnownNoise]:
    """Ends that are images, each one of x0 [B, ...], model values.

    The teacher's ODE carries them to noise, and the model is called on their way there at each of its levels: the lower
    the last one, the nearer does it come back. labels: [B], told to teacher and model where they take any. nfe: of the
    teacher, beside two for each level that is not on its grid.
    """
    check_name("sampler of this teacher", "heun", teacher.samplers)
    denoiser = teacher.denoiser(*_told(teacher, labels, len(x0)))
    consistency = model.conditioned(*_told(model, labels, len(x0)))
    levels = model.levels(steps, "multistep")
    grid = torch.cat([karras_levels(nfe // 2 + 1), levels]).unique().flip(0)
    points = carry_up(denoiser, x0.to(teacher.device), grid)[torch.isin(grid, levels)].to(model.device)
    noises = noises_along(consistency, points, levels, model.function.boundary)
    return [KnownNoise(own) for own in noises.split(1, dim=1)]


def _told(model, labels, count: int):
    """Labels for a model that takes any, and what draws them where they are not given."""
    return labels if model.spec.labels else None, SampleRandomness(0, range(count), model.device)
