"""Commands: what `kedro` has in this project, and `onestep`."""

from pathlib import Path

import click
from kedro.framework.cli.project import run as kedro_run

from onestep.commands.exchange import COMMANDS as EXCHANGE
from onestep.commands.refusals import refusing
from onestep.commands.registry import registry


@click.group(name="onestep")
def cli() -> None:
    """Commands of this project."""


run = refusing(kedro_run)
cli.add_command(run)


@click.group()
def main() -> None:
    """Onestep: what `kedro run` does not do."""


main.add_command(registry)
for command in EXCHANGE:
    main.add_command(command)


@click.command()
@click.argument("output", default="samples.png", type=click.Path(dir_okay=False, writable=True))
@click.option("--model", required=True, help="As models:/onestep-digits@champion, or a finished model's folder.")
@click.option("--n", "--count", "count", default=64, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=1, show_default=True, type=click.IntRange(1), help="Network evaluations an image.")
@click.option("--sampler", default=None, help="By default the model's own; a teacher has several.")
@click.option("--seed", default=0, show_default=True)
@click.option("--label", default=None, type=int, help="A class by its number, of a model that was trained with labels.")
@click.option("--guidance", default=1.0, show_default=True, help="Strength of the labels, of a teacher's sampler.")
@click.option("--gamma", default=0.0, show_default=True, help="Of a ctm model: the share of noise drawn anew, 0 to 1.")
@click.option("--batch-size", default=256, show_default=True, type=click.IntRange(1))
def sample(
    output: str,
    model: str,
    count: int,
    steps: int,
    sampler: str | None,
    seed: int,
    label: int | None,
    guidance: float,
    gamma: float,
    **how,
):
    """Draw samples of a registered model: a picture of them (.png), or all of them as an array (.npy).

    An array is written batch by batch, and an interrupted one is taken up by the same command.
    """
    import torch

    from onestep.console import progress_bar
    from onestep.evaluation.stream import stream

    generator = _model(model)

    def generate(indices):
        labels = None if label is None else torch.full((len(indices),), label)
        return generator.sample(steps, seed, indices, labels, sampler, gamma=gamma, guidance=guidance)

    if Path(output).suffix == ".npy":
        levels = generator.levels(steps, sampler).tolist()
        made_by = {"model": generator.sha256, "levels": levels, "sampler": sampler, "seed": seed, "label": label}
        made_by |= {"gamma": gamma, "guidance": guidance}
        with progress_bar("sample") as bar:
            stream(generate, generator.space, count, output, made_by, on_progress=bar, **how)
    else:
        draw_samples(generate(range(count)), model).save(output)
    click.echo(f"{count} samples in {output}")


def draw_samples(samples, title: str):
    """A grid of images, or a scatter of points."""
    from PIL import Image

    from onestep.evaluation.figures import tile
    from onestep.evaluation.plots import scatter

    return Image.fromarray(tile(samples)) if samples.ndim == 4 else scatter([(title, samples)])


main.add_command(refusing(sample))


@click.command()
@click.argument("task")
@click.argument("output", default="edited", type=click.Path(file_okay=False, writable=True))
@click.option("--model", required=True, help="As models:/onestep-digits@champion, or a finished model's folder.")
@click.option("--image", "images", multiple=True, help="A picture or a folder of them; may be given again.")
@click.option("--steps", default=4, show_default=True, type=click.IntRange(1), help="Network evaluations an image.")
@click.option("--seed", default=0, show_default=True)
@click.option("--label", default=None, type=int, help="A class by its number, of a model that was trained with labels.")
@click.option("--degrade", is_flag=True, help="The images are whole: take from them what the task makes, and measure.")
@click.option("--mask", default=None, help="inpaint: a picture whose white is missing, or center, left, ...")
@click.option("--factor", default=None, type=int, help="superresolve: pixels of a patch's side.")
@click.option("--level", default=None, type=float, help="denoise: that of the noise, in model values.")
@click.option("--first", default=None, type=float, help="stroke: its first level.")
@click.option("--last", default=None, type=float, help="stroke: the level of its last step.")
@click.option("--frames", default=None, type=int, help="interpolate: how many, both ends among them.")
@click.option("--to", default=None, type=int, help="interpolate: the seed at the other end.  [default: seed + 1]")
@click.option("--teacher", default=None, help="interpolate between two images: what carries them to noise.")
def edit(task, output, model, images, steps, seed, label, degrade, to, teacher, **options) -> None:
    """Edit images by a student: inpaint, colorize, superresolve, stroke, denoise or interpolate.

    The folder OUTPUT gets the edited images and sheet.png, before and after. interpolate has two seeds, or two images.
    """
    from onestep.editing import build_task, draw_gallery, write_edited
    from onestep.editing.files import Order, carry_out

    place = (Path(output) / task).resolve()
    if any(place in (Path(image).resolve(), Path(image).resolve().parent) for image in images):
        raise ValueError(f"the images are in {place}, where the edited ones would be written: name another OUTPUT.")
    given = {name: value for name, value in options.items() if value is not None}
    order = Order(task, build_task(task, given), images, steps, seed, seed + 1 if to is None else to, label, degrade)
    trial, names = carry_out(order, _model(model), teacher and _model(teacher))
    write_edited([trial], Path(output), names)
    draw_gallery([trial], None, f"{model}, {steps} steps").save(Path(output) / "sheet.png")
    for name, value in trial.measures.items():
        click.echo(f"{name}: {value}")
    click.echo(f"{len(trial.edited)} images and sheet.png in {output}")


main.add_command(refusing(edit))


def _model(place: str):
    """A registered model, or that of a folder, on the best device there is."""
    import onestep
    from onestep.evaluation.choice import best_device
    from onestep.training.model import Model

    model = onestep.load(place) if place.startswith("models:/") else Model.load(place)
    model.function.to(best_device())
    return model
