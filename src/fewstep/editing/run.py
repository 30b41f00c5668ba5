"""Editing by a finished student (fewstep.models.model.Model)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.editing.interpolation import KnownNoise, StripRandomness
from fewstep.editing.tasks import Interpolate, Task
from fewstep.models.model import Model
from fewstep.samplers import carry_up, noises_along, sample_multistep
from fewstep.support.checks import at_least, check_value, up_to, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


def check_model(model: Model, task: Task, nfe: int) -> None:
    """Raise ValueError if this model cannot do this task with nfe evaluations."""
    if "multistep" not in model.samplers:
        raise InvalidInput(
            f"only consistency functions edit images, and {model.spec.name} is sampled with {model.samplers[0]}."
        )
    check_value("nfe", nfe, up_to(10_000, whole(at_least(1))))
    task.check(model.space)


def check_teacher(student: Model, teacher: Model) -> None:
    """Raise ValueError unless a teacher can carry to noise what a student then edits."""
    if teacher.space.encoding != student.space.encoding:
        raise InvalidInput(f"the teacher and {student.spec.name} must see the same values, pixels or latents.")
    if teacher.space.shape != student.space.shape:
        made, wanted = list(teacher.space.shape), list(student.space.shape)
        raise InvalidInput(f"the teacher must make what {student.spec.name} makes, {wanted}, got {made}.")


@torch.inference_mode()
def edit_images(
    model: Model,
    task: Task,
    y: Tensor,
    nfe: int,
    seed: int,
    labels: Tensor | None = None,
    indices: Sequence[int] = (),
) -> Tensor:
    """Model values of the edited images, before they are rounded and clamped. nfe: evaluations per image.

    y: what the task is given, model values. seed: an image's result is a function of it and of its index, by default
    its place. labels: [B], as for Model.sample; or mixtures of classes, [B, classes].
    """
    check_model(model, task, nfe)
    rng = SampleRandomness(seed, indices or range(len(y)), model.device)
    noise = rng.normal(model.space.model_shape)  # before labels: the draws are those of Model.sample
    edit, levels = task.at(model.space).edit(y.to(model.device)), levels_of(model, task, nfe)
    return edit(model.conditioned(labels, rng), noise, levels, rng, model.function.boundary)


def levels_of(model: Model, task: Task, nfe: int) -> Tensor:
    """The levels at which the model is called, [nfe]: those of the task, or else of the multistep sampler."""
    own = task.levels(nfe, model.spec.least_level or model.function.boundary)
    return model.levels(nfe, "multistep") if own is None else model.check_levels(own, nfe)


@torch.inference_mode()
def interpolate(
    model: Model,
    task: Interpolate,
    ends: Sequence[SampleRandomness | KnownNoise],
    nfe: int,
    labels: Tensor | None = None,
    part: slice = slice(None),
) -> Tensor:
    """Frames between two ends of B samples each, [B * frames, ...]. nfe: evaluations per image.

    ends: seed_ends or image_ends, which give the noises. labels: [B], for all frames of a pair; or [2, B], one for each
    end, between which the one-hot labels are interpolated. If not given, the first end draws them, which must then have
    a seed. part: these of the frames of each pair alone, as they are among all.
    """
    check_model(model, task, nfe)
    rng, levels = StripRandomness(ends, task.frames, part), levels_of(model, task, nfe)
    noise = rng.normal(model.space.model_shape)
    if labels is not None:
        shares = torch.linspace(0, 1, task.frames, device=model.device)[part]
        labels = _mixed(model, labels, shares) if labels.ndim == 2 else labels.repeat_interleave(len(shares))
    function, boundary = model.conditioned(labels, rng), model.function.boundary
    return sample_multistep(function, noise, levels, rng, boundary=boundary)


def _mixed(model: Model, labels: Tensor, shares: Tensor) -> Tensor:
    """One-hot labels between the class of one end and that of the other, [2, B] -> [B * shares, classes]."""
    rng = SampleRandomness(0, range(labels.shape[1]), model.device)
    told = [model.one_hot(end, rng) for end in labels]
    first, last = (end.repeat_interleave(len(shares), 0) for end in told if end is not None)
    return torch.lerp(first, last, shares.repeat(labels.shape[1])[:, None])


def seed_ends(model: Model, seeds: Sequence[int], count: int = 1) -> list[SampleRandomness]:
    """Ends of an interpolation: the samples 0 to count - 1 of each seed."""
    return [SampleRandomness(seed, range(count), model.device) for seed in seeds]


@torch.inference_mode()
def image_ends(
    model: Model, teacher: Model, x0: Tensor, nfe: int, labels: Tensor | None = None, teacher_nfe: int = 78
) -> list[KnownNoise]:
    """Ends of an interpolation: images x0 [B, ...], model values.

    The teacher's ODE turns them into noise, and the model is called at each of its levels along that trajectory. The
    lower its last level, the closer the model gets back to the images. labels: [B], for teacher and model if they take
    labels. teacher_nfe: evaluations of the teacher, and two more for each level that is not on its grid.
    """
    check_name("sampler of this teacher", "heun", teacher.samplers)
    denoiser = teacher.denoiser(*_told(teacher, labels, len(x0)))
    consistency = model.conditioned(*_told(model, labels, len(x0)))
    levels = model.levels(nfe, "multistep")
    grid = torch.cat([karras_levels(teacher_nfe // 2 + 1), levels]).unique().flip(0)
    points = carry_up(denoiser, x0.to(teacher.device), grid)[torch.isin(grid, levels)].to(model.device)
    noises = noises_along(consistency, points, levels, model.function.boundary)
    return [KnownNoise(own) for own in noises.split(1, dim=1)]


def _told(model: Model, labels: Tensor | None, count: int) -> tuple[Tensor | None, SampleRandomness]:
    """Labels for a model that takes labels, and the random numbers that draw them if they are not given."""
    return labels if model.spec.labels else None, SampleRandomness(0, range(count), model.device)
