"""`fewstep sample`: pictures of a model's samples, or arrays of them."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import COMPILE, DATASET, ENV, MODEL, PRECISION, nfe_option
from fewstep.commands.project import champion_of_project, check_folder, model_of
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from fewstep.evaluation.counting import Clock
    from fewstep.models.model import Model


ARRAYS = (".npy", ".npz")


@click.command()
@click.argument("output", default=None, required=False, type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option(
    "--format",
    "kind",
    default=None,
    type=click.Choice(["picture", "npy", "npz"]),
    help="npz is what OpenAI's evaluator reads.  [default: by the name of the file]",
)
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
@PRECISION
@COMPILE
@click.option("--batch-size", default=256, show_default=True, type=click.IntRange(1))
def sample(
    output: Path | None,
    kind: str | None,
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
    precision: str | None,
    compiled: bool,
    batch_size: int,
) -> None:
    """Draw samples of a registered model: a picture of them (.png), or all of them as an array (.npy, .npz).

    The picture is samples.png if no file is named. An array is written batch by batch. After an interruption the same
    command continues it. An .npz holds arr_0, uint8 [N, H, W, 3], as OpenAI's evaluator reads it.

    \b
        fewstep sample --n 64 --nfe 2
        fewstep sample all.npy --model data/06_models/digits/cd --n 50000 --batch-size 500
        fewstep sample all.npz --model data/06_models/digits/cd --n 50000
        fewstep sample sevens.png --model models:/fewstep-digits@champion --label 7
        fewstep sample cats.png --model data/06_models/pets/ctm --label cat
    """
    import torch

    from fewstep.console import progress_bar
    from fewstep.evaluation.sample_archive import check_archive, write_archive
    from fewstep.evaluation.sample_stream import in_batches, stream
    from fewstep.pictures.drawing import draw
    from fewstep.pictures.saving import save_picture

    output = output_of(output, kind)
    model = model or champion_of_project(env, dataset)
    generator = model_of(model, precision, compiled)
    if listing:
        click.echo("\n".join(_classes(generator)))
        return
    if output.suffix == ".npz":
        check_archive(generator.space)
    number = None if label is None else generator.class_of(label)

    def generate(indices: "np.ndarray") -> "np.ndarray":
        labels = None if number is None else torch.full((len(indices),), number)
        return generator.sample(
            nfe=nfe, seed=seed, indices=indices, labels=labels, sampler=sampler, gamma=gamma, guidance=guidance
        )

    with _timed_decoding(generator) as clock:
        if output.suffix in ARRAYS:
            levels = generator.levels(nfe, sampler).tolist()
            made_by = {"model": generator.sha256, "levels": levels, "sampler": sampler, "seed": seed, "label": number}
            made_by |= {"gamma": gamma, "guidance": guidance, "precision": str(generator.execution)}
            with progress_bar("sample") as bar:
                rows = output if output.suffix == ".npy" else output.with_name(f".{output.name}.npy")
                made = stream(generate, generator.space, count, rows, made_by, batch_size, on_progress=bar)
            if output.suffix == ".npz":
                write_archive(made, output)
                rows.unlink()
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


def output_of(file: Path | None, kind: str | None) -> Path:
    """The file that samples go to. Raises ValueError if they cannot be written to one of this name, or of this kind."""
    from PIL import Image

    file = file or Path(f"samples.{'png' if kind in (None, 'picture') else kind}")
    written = {ending for ending, form in Image.registered_extensions().items() if form in Image.SAVE}
    if file.suffix not in ARRAYS and file.suffix.lower() not in written:
        raise InvalidInput(
            f"samples must go to a picture (.png, .jpg, .webp, ...) or an array (.npy, .npz), got {file}."
        )
    if kind and kind != (found := file.suffix[1:] if file.suffix in ARRAYS else "picture"):
        raise InvalidInput(f"--format must be {found}, by the name of {file}, or left out, got {kind}.")
    check_folder(file)
    return file


COMMANDS = (refusing(sample),)
