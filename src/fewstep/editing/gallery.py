"""Tasks tried on images, and what they come to: pictures before and after, and measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fewstep.diffusion.randomness import SampleRandomness, derive_seed
from fewstep.editing.image_files import as_picture
from fewstep.editing.measures import mean, measure, psnr
from fewstep.editing.projection import Projection
from fewstep.editing.run import check_model, check_teacher, edit_images, image_ends, interpolate, seed_ends
from fewstep.editing.tasks import Interpolate, Task
from fewstep.pictures.files import write_pictures
from fewstep.pictures.sheets import sheet
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Trial:
    """given, edited: uint8 [N, C, H, W], or None for given where a task is given none; measures: ready for JSON."""

    name: str
    given: np.ndarray | None
    edited: np.ndarray
    measures: dict


def try_task(model, name: str, task: Task, images: np.ndarray, steps: int, seed: int, degrade: bool, labels=None):
    """A Trial. images: uint8 [N, C, H, W]. degrade: they are whole, and it is measured how much of them comes back.

    known_error: the largest change of what was known, in model values, before rounding and clamping.
    """
    task.check(model.space)
    y = model.space.encode(images)
    if degrade:
        y = task.degrade(y, SampleRandomness(derive_seed("degrade", seed), range(len(y))))
    edited = edit_images(model, task, y, steps, seed, labels)
    project = task.edit(y).project
    stored, given = model.space.decode(edited), model.space.decode(task.shown(y))
    measures = {"steps": steps} | (measure(stored, given, images, model.space) if degrade else {})
    if isinstance(project, Projection):
        measures["known_error"] = project.error(edited.cpu())
    return Trial(name, given, stored, measures)


def try_seeds(model, task: Interpolate, seeds: tuple[int, int], steps: int, label: int | None = None) -> Trial:
    """From the first sample of one seed to that of another."""
    task.check(model.space)
    labels = None if label is None else [label]
    frames = interpolate(model, task, seed_ends(model, seeds), steps, labels)
    return Trial("interpolate", None, model.space.decode(frames), {"steps": steps, "seeds": list(seeds)})


def try_pair(model, teacher, task: Interpolate, images: np.ndarray, steps: int, seed: int, labels=None) -> Trial:
    """From one image to another: two, uint8 [2, C, H, W], which the teacher's ODE carries to noise.

    labels: [2], with which each goes up, and comes down again; drawn by the seed where they are not told. psnr_ends: of
    the two ends, which are to be these images.
    """
    check_model(model, task, steps)
    check_teacher(model, teacher)
    if len(images) != 2:
        raise InvalidInput(f"an interpolation needs two images, got {len(images)}.")
    if labels is None and (classes := len(model.space.classes)):
        labels = SampleRandomness(seed, range(2), model.device).integers(classes)
    ends = image_ends(model, teacher, model.space.encode(images), steps, labels)
    frames = interpolate(model, task, ends, steps, labels[:, None] if model.spec.labels else None)
    made = model.space.decode(frames)
    return Trial("interpolate images", images, made, {"steps": steps, "psnr_ends": mean(psnr(made[[0, -1]], images))})


def draw_gallery(trials: list[Trial], originals: np.ndarray | None, title: str, columns: int = 8) -> Image.Image:
    """A sheet: whole images, then before and after of each task."""
    rows = [] if originals is None else [("images", originals)]
    for trial in trials:
        if trial.given is not None:
            rows.append((f"{trial.name}\nbefore", trial.given))
        for start in range(0, len(trial.edited), columns) if trial.name.startswith("interpolate") else [0]:
            rows.append((f"{trial.name}\n{trial.measures['steps']} NFE", trial.edited[start : start + columns]))
    return sheet(rows, title, columns)


def named_pictures(trials: list[Trial], names: Sequence[str] = ()) -> dict[str, Image.Image]:
    """{task/picture: edited}: the pictures of each task, named as those that they are made of, or numbered."""
    stems, found = [Path(name).stem for name in names], {}
    for trial in trials:
        named = len(set(stems)) == len(stems) == len(trial.edited)
        for i, image in enumerate(trial.edited):
            found[f"{trial.name.replace(' ', '_')}/{stems[i] if named else format(i, '04d')}"] = as_picture(image)
    return found


def write_edited(trials: list[Trial], folder: Path, names: Sequence[str] = ()) -> None:
    """A folder of edited pictures below `folder` for each task."""
    write_pictures(named_pictures(trials, names), folder)
