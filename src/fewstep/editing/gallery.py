"""Results of editing tasks: pictures before and after, and measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fewstep.diffusion.randomness import SampleRandomness, derive_seed
from fewstep.editing.given_images import edited_images, given_values
from fewstep.editing.measures import mean, measure
from fewstep.editing.projection import Projection
from fewstep.editing.run import check_model, check_teacher, edit_images, image_ends, interpolate, seed_ends
from fewstep.editing.tasks import Interpolate, Task
from fewstep.evaluation.perception import psnr
from fewstep.models.model import Model
from fewstep.pictures.saving import write_pictures
from fewstep.pictures.sheets import as_picture, sheet
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Trial:
    """given, edited: uint8 [N, C, H, W], or None for given where a task is given none; measures: ready for JSON."""

    name: str
    given: np.ndarray | None
    edited: np.ndarray
    measures: dict[str, Any]


def try_task(
    model: Model,
    name: str,
    task: Task,
    images: np.ndarray,
    nfe: int,
    seed: int,
    degrade: bool,
    labels: Tensor | None = None,
) -> Trial:
    """The result of a task on images, uint8 [N, C, H, W].

    degrade: the images are complete; the task first removes what it restores, and the result is compared with them.
    known_error among the measures: the largest change of what was known, in model values before rounding and clamping.
    """
    task.check(model.space)
    rng = SampleRandomness(derive_seed("degrade", seed), range(len(images))) if degrade else None
    y, given = given_values(model.space, task, images, rng)
    edited = edit_images(model, task, y, nfe, seed, labels)
    project = task.at(model.space).edit(y).project
    stored = edited_images(model.space, task, edited, images)
    measures = {"nfe": nfe} | (measure(stored, given, images, model.space) if degrade else {})
    if isinstance(project, Projection):
        measures["known_error"] = project.error(edited.cpu())
    return Trial(name, given, stored, measures)


def try_seeds(model: Model, task: Interpolate, seeds: tuple[int, int], nfe: int, label: int | None = None) -> Trial:
    """An interpolation from the first sample of one seed to the first sample of another."""
    task.check(model.space)
    labels = None if label is None else torch.tensor([label])
    frames = interpolate(model, task, seed_ends(model, seeds), nfe, labels)
    return Trial("interpolate", None, model.space.decode(frames), {"nfe": nfe, "seeds": list(seeds)})


def try_pair(
    model: Model,
    teacher: Model,
    task: Interpolate,
    images: np.ndarray,
    nfe: int,
    seed: int,
    labels: Tensor | None = None,
) -> Trial:
    """An interpolation between two images, uint8 [2, C, H, W], which the teacher's ODE turns into noise.

    labels: [2], of the two images; drawn by the seed if not given. psnr_ends among the measures: of the first and the
    last frame, compared with the images.
    """
    check_model(model, task, nfe)
    check_teacher(model, teacher)
    if len(images) != 2:
        raise InvalidInput(f"an interpolation needs two images, got {len(images)}.")
    if labels is None and (classes := len(model.space.classes)):
        labels = SampleRandomness(seed, range(2), model.device).integers(classes)
    ends = image_ends(model, teacher, model.space.encode(images), nfe, labels)
    told = labels[:, None] if labels is not None and model.spec.labels else None
    frames = interpolate(model, task, ends, nfe, told)
    made = model.space.decode(frames)
    return Trial("interpolate images", images, made, {"nfe": nfe, "psnr_ends": mean(psnr(made[[0, -1]], images))})


def draw_gallery(trials: list[Trial], originals: np.ndarray | None, title: str, columns: int = 8) -> Image.Image:
    """A sheet: the original images, then each task before and after."""
    rows = [] if originals is None else [("images", originals)]
    for trial in trials:
        if trial.given is not None:
            rows.append((f"{trial.name}\nbefore", trial.given))
        for start in range(0, len(trial.edited), columns) if trial.name.startswith("interpolate") else [0]:
            rows.append((f"{trial.name}\n{trial.measures['nfe']} NFE", trial.edited[start : start + columns]))
    return sheet(rows, title, columns)


def named_pictures(trials: list[Trial], names: Sequence[str] = ()) -> dict[str, Image.Image]:
    """{task/picture: edited picture}, named after the given pictures, or numbered."""
    stems, found = [Path(name).stem for name in names], {}
    for trial in trials:
        named = len(set(stems)) == len(stems) == len(trial.edited)
        for i, image in enumerate(trial.edited):
            found[f"{trial.name.replace(' ', '_')}/{stems[i] if named else format(i, '04d')}"] = as_picture(image)
    return found


def write_edited(trials: list[Trial], folder: Path, names: Sequence[str] = ()) -> None:
    """Write the edited pictures of each task to a folder of its own below `folder`."""
    write_pictures(named_pictures(trials, names), folder)
