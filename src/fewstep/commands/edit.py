"""`fewstep edit`: tasks of editing on pictures in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV, MODEL, nfe_option
from fewstep.commands.project import champion_of_project, model_of
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.data import DataSpace
    from fewstep.editing.tasks import Task
    from fewstep.models.model import Model


@click.command()
@click.argument("task")
@click.argument("output", default="edited", type=click.Path(file_okay=False, writable=True))
@MODEL
@ENV
@DATASET
@click.option("--image", "images", multiple=True, help="A picture or a folder of pictures; can be repeated.")
@nfe_option("Network evaluations per image.", default=4, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--label", default=None, help="A class by its name or number, of a model that was trained with labels.")
@click.option(
    "--degrade", is_flag=True, help="Remove from complete images what the task restores, and measure the result."
)
@click.option("--mask", default=None, help="inpaint: a picture whose white is missing, or center, left, ...")
@click.option("--factor", default=None, type=int, help="superresolve: the side of a patch, in pixels.")
@click.option("--level", default=None, type=float, help="denoise: the level of the noise, in model values.")
@click.option("--first", default=None, type=float, help="stroke: the first level.")
@click.option("--last", default=None, type=float, help="stroke: the level of the last step.")
@click.option("--frames", default=None, type=int, help="interpolate: the number of frames, including both ends.")
@click.option("--to", default=None, type=int, help="interpolate: the seed at the other end.  [default: seed + 1]")
@click.option("--teacher", default=None, help="interpolate two images: the model whose ODE turns them into noise.")
def edit(
    task: str,
    output: str,
    model: str | None,
    env: str | None,
    dataset: str | None,
    images: tuple[str, ...],
    nfe: int,
    seed: int,
    label: str | None,
    degrade: bool,
    to: int | None,
    teacher: str | None,
    **options: Any,
) -> None:
    """Edit images by a student: inpaint, colorize, superresolve, stroke, denoise or interpolate.

    The folder OUTPUT gets the edited images, and sheet.png with each image before and after. interpolate takes two
    seeds or two images.

    \b
        fewstep edit inpaint --image a.png --mask m.png --model models:/fewstep-digits@champion
        fewstep edit superresolve out --image pictures --degrade --model data/06_models/digits/cd
        fewstep edit interpolate --seed 3 --to 5 --frames 8 --model models:/fewstep-digits@champion
    """
    from fewstep.editing import build_task, draw_gallery, write_edited
    from fewstep.editing.edit_order import EditOrder, carry_out
    from fewstep.pictures.saving import save_picture

    _check_place(Path(output) / ("interpolate_images" if task == "interpolate" else task), images)
    _check_options(task, images, degrade, to, teacher)
    asked = build_task(task, {name: value for name, value in options.items() if value is not None})
    student = model_of(model or champion_of_project(env, dataset))
    names, given = _read(images, asked, student.space)
    number = None if label is None else student.class_of(label)
    order = EditOrder(task, asked, given, nfe, seed, seed + 1 if to is None else to, number, degrade)
    trial = carry_out(order, student, _beside(student, teacher))
    write_edited([trial], Path(output), names)
    save_picture(draw_gallery([trial], None, f"{student.space.name}: {student.spec.name}"), Path(output) / "sheet.png")
    for name, value in trial.measures.items():
        click.echo(f"{name}: {value}")
    click.echo(f"{len(trial.edited)} images and sheet.png in {output}")


def _beside(student: "Model", teacher: str | None) -> "Model | None":
    """The teacher that was named, if one was; a line says so where another one taught the student."""
    if not teacher:
        return None
    model, taught_by = model_of(teacher), student.spec.provenance.teacher_sha256
    if taught_by not in (None, model.sha256):
        click.echo(f"{student.spec.name} was not taught by {teacher}: its ends may lie further from the images.")
    return model


def _check_place(edited: Path, images: Sequence[str]) -> None:
    """Raise ValueError where images are in the folder that the edited ones are written to."""
    place = edited.resolve()
    if any(place in (Path(image).resolve(), Path(image).resolve().parent) for image in images):
        raise InvalidInput(f"OUTPUT must not be the folder of the images, got {place}.")


def _read(sources: Sequence[str], task: "Task", space: "DataSpace") -> tuple[list[str], np.ndarray | None]:
    """Names and images of pictures, or folders of them, that the task is given."""
    from fewstep.editing import read_images

    task.check(space)
    found = [read_images(source, space, task.factor) for source in sources]
    return [name for names, _ in found for name in names], np.concatenate([i for _, i in found]) if found else None


def _check_options(task: str, images: Sequence[str], degrade: bool, to: int | None, teacher: str | None) -> None:
    """Raise ValueError for what this task, of these images, has no use for."""
    between = task == "interpolate"
    options = (  # what it is called, whether it is given, whether it has a use, and where it has one
        ("--to", to is not None, between and not images, "interpolate between two seeds"),
        ("--teacher", teacher is not None, between and images, "interpolate between two images"),
        ("--degrade", degrade, not between, "tasks that give something back"),
    )
    for name, given, useful, where in options:
        if given and not useful:
            raise InvalidInput(f"{name} is for {where}.")


COMMANDS = (refusing(edit),)
