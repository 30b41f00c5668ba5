"""`fewstep sample`: pictures of a model's samples, or arrays of them."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV, MODEL, nfe_option
from fewstep.commands.project import champion_of_project, check_folder, model_of
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from fewstep.evaluation.counting import Clock
    from fewstep.models.model import Model


@click.command()
@click.argument("output", default="samples.png", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@MODEL
@ENV
@DATASET
@click.option("--n", "--count", "count", default=64, show_default=True, type=click.IntRange(1))
@nfe_option("Network evaluations per image.", default=1, show_default=True)
@click.option("--sampler", default=None, help="By default the model's usual one; a teacher has several.")
@click.option("--seed", default=0, show_default=True)
@click.option("--label", default=None, help="A class by its name or number, of a model that was trained with labels.")
@click.option("--labels", "listing", is_flag=True, help="List the numbers and names of the classes, and draw nothing.")
@click.option("--guidance", default=1.0, show_default=True, help="Strength of the labels, for models that take it.")
@click.option(
    "--gamma", default=0.0, show_default=True, help="For ctm models: the share of fresh noise in a step, 0 to 1."
)
@click.option("--batch-size", default=256, show_default=True, type=click.IntRange(1))
def sample(
    output: Path,
    model: str | None,
    env: str | None,
    dataset: str | None,
    count: int,
    nfe: int,
    sampler: str | None,
    seed: int,
    label: str | None,
    listing: bool,
    guidance: float,
    gamma: float,
    batch_size: int,
) -> None:
    """Draw samples of a registered model: a picture of them (.png), or all of them as an array (.npy).

    An array is written batch by batch. After an interruption the same command continues it.

    \b
        fewstep sample --n 64 --nfe 2
        fewstep sample all.npy --model data/06_models/digits/cd --n 50000 --batch-size 500
        fewstep sample sevens.png --model models:/fewstep-digits@champion --label 7
        fewstep sample cats.png --model data/06_models/pets/ctm --label cat
    """
    import torch

    from fewstep.console import progress_bar
    from fewstep.evaluation.sample_stream import in_batches, stream
    from fewstep.pictures.drawing import draw
    from fewstep.pictures.saving import save_picture

    check_output(output)
    model = model or champion_of_project(env, dataset)
    generator = model_of(model)
    if listing:
        click.echo("\n".join(_classes(generator)))
        return
    number = None if label is None else generator.class_of(label)

    def generate(indices: "np.ndarray") -> "np.ndarray":
        labels = None if number is None else torch.full((len(indices),), number)
        return generator.sample(
            nfe=nfe, seed=seed, indices=indices, labels=labels, sampler=sampler, gamma=gamma, guidance=guidance
        )

    with _timed_decoding(generator) as clock:
        if output.suffix == ".npy":
            levels = generator.levels(nfe, sampler).tolist()
            made_by = {"model": generator.sha256, "levels": levels, "sampler": sampler, "seed": seed, "label": number}
            made_by |= {"gamma": gamma, "guidance": guidance}
            with progress_bar("sample") as bar:
                stream(generate, generator.space, count, output, made_by, batch_size, on_progress=bar)
        else:
            save_picture(draw(in_batches(generate, count, batch_size), title=model), output)
    decoded = f"; decoding took {clock.seconds:.3g} s" if clock.seconds else ""
    click.echo(f"{count} samples in {output}{decoded}")


def _timed_decoding(model: "Model") -> "AbstractContextManager[Clock]":
    """A clock of what decoding takes, of a model on latents."""
    from fewstep.data.latent_space import LatentSpace
    from fewstep.evaluation.counting import Clock, timed_passes

    space = model.space
    return timed_passes(space.coder(model.device)) if isinstance(space, LatentSpace) else nullcontext(Clock())


def _classes(model: "Model") -> list[str]:
    """The number and name of each class that can be asked for."""
    from fewstep.data.class_names import numbered

    classes = model.space.classes
    if not model.spec.labels:
        return [f"{model.spec.name} was trained without labels."]
    return [numbered(number, classes) for number in range(len(classes))]


def check_output(file: Path) -> None:
    """Raise ValueError if samples cannot be written to a file of this name."""
    from PIL import Image

    written = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    if file.suffix != ".npy" and file.suffix.lower() not in written:
        raise InvalidInput(f"samples must go to a picture (.png, .jpg, .webp, ...) or an array (.npy), got {file}.")
    check_folder(file)


COMMANDS = (refusing(sample),)
