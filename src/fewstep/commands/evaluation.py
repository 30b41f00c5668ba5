"""`fewstep evaluate`: scores of a model, or of samples made by anyone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import COMPILE, DATASET, ENV, PRECISION, nfe_option
from fewstep.commands.project import check_folder, check_makes, context_of, judged_by, model_of
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import home_path, write_json
from fewstep.support.json_text import parse_json

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.features import Extractor
    from fewstep.evaluation.results import Evaluation
    from fewstep.models.model import Model


@click.command()
@click.argument("source")
@ENV
@DATASET
@nfe_option("Network evaluations of a model; can be repeated.  [default: 1]", multiple=True)
@click.option("--sampler", default=None, help="By default the model's usual one; a teacher has several.")
@click.option(
    "--count",
    default=None,
    type=click.IntRange(1),
    help="Samples for each seed.  [default: the count of --beside, or evaluation.count]",
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Can be repeated.  [default: the seeds of --beside, or evaluation.full_seeds]",
)
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A scores.json to compare with; can be repeated.",
)
@PRECISION
@COMPILE
@click.option(
    "--output", default=None, type=click.Path(path_type=Path, dir_okay=False), help="Write the scores to this file."
)
def evaluate(
    source: str,
    env: str | None,
    dataset: str | None,
    nfe: tuple[int, ...],
    sampler: str | None,
    count: int | None,
    seeds: tuple[int, ...],
    beside: tuple[Path, ...],
    precision: str | None,
    compiled: bool,
    output: Path | None,
) -> None:
    """Scores of a registered model, of a finished model's folder, of pictures (a folder, a zip, a tar), or of
    samples (.npy, .npz).

    \b
        fewstep evaluate models:/fewstep-digits@champion --nfe 1 --nfe 2
        fewstep evaluate pictures/ --beside data/08_reporting/digits/cd/scores.json
    """
    from fewstep.evaluation.ladder import Judge, evaluate_given, measurement_of
    from fewstep.evaluation.reference_files import read_references
    from fewstep.evaluation.results import incomparable
    from fewstep.reporting.table import scores_table

    if output:
        check_folder(output)
    others = [_read_scores(file) for file in beside]
    context = context_of(env, dataset=dataset)
    evaluation = context.typed.evaluation
    images, extractor = judged_by(context, "scores need")
    usual = (
        others[0].measurement if others else measurement_of(images, extractor, evaluation.count, evaluation.full_seeds)
    )
    sizes: dict[str, Any] = {"count": count or usual.count, "seeds": seeds or usual.seeds}
    of_model = source.startswith("models:/") or (Path(source) / "model.json").is_file()
    if not of_model and (nfe or sampler or precision or compiled):
        of = "--nfe, --sampler, --precision and --compile"
        raise InvalidInput(f"{of} are for models, and {source} holds samples: leave them out.")
    samples = None if of_model else read_samples(home_path(source), images)
    if samples is not None and not count:
        sizes["count"] = min(sizes["count"], len(samples) // len(sizes["seeds"]))
    references = read_references(evaluation.reference)
    measured = measurement_of(images, extractor, **sizes, references=references)
    for file, other in zip(beside, others, strict=True):  # before any work
        if found := measured.difference(other.measurement):
            raise InvalidInput(incomparable(source, str(file), found))
    if samples is None:
        sizes["judge"] = Judge.of(images, extractor, references=references)
        model = model_of(source, precision or evaluation.precision, compiled or evaluation.compile)
        found = _of_model(model, source, images, extractor, nfe or (1,), sampler, evaluation.batch_size, sizes)
    else:
        found = evaluate_given(samples, Path(source).name, images, extractor, **sizes, references=references)
    if output:
        write_json(output, found.to_json())
    click.echo(scores_table(found.joined(*others)))


def _read_scores(file: Path) -> "Evaluation":
    from fewstep.evaluation.results import Evaluation

    try:
        return Evaluation.from_json(parse_json(file.read_text()))
    except ValueError as problem:
        raise InvalidInput(f"--beside must be a scores.json, got {file} ({reason_of(problem)}).") from None


def _of_model(
    model: "Model",
    source: str,
    images: "ArrayStore",
    extractor: "Extractor | None",
    nfe: Sequence[int],
    sampler: str | None,
    batch_size: int,
    sizes: dict[str, Any],
) -> "Evaluation":
    from fewstep.console import progress_bar
    from fewstep.evaluation.ladder import evaluate
    from fewstep.evaluation.sampling import sampling_settings

    check_makes(source, model, images)
    if model.spec.data_sha256 != images.sha256:
        click.echo(
            f"{source} was trained on other data than {images.folder}: it may have seen those that are held out here, "
            "or none like those that scores compare with."
        )
    settings = sampling_settings(model, sampler or model.samplers[0], sorted(set(nfe)))
    with progress_bar("evaluate") as bar:
        return evaluate(settings, images, extractor, **sizes, batch_size=batch_size, on_progress=bar)


def read_samples(source: Path, images: "ArrayStore") -> np.ndarray:
    """Those of an array, or of pictures read as the data's own were. ValueError where they are of another kind."""
    from fewstep.data.given import read_given, reader_for
    from fewstep.data.store import DTYPES
    from fewstep.editing.image_files import fitting_images

    space = images.space
    if source.suffix == ".npy" and source.is_file():
        samples = _array(source)
        if samples.shape[1:] == space.shape and samples.dtype == DTYPES[space.kind]:
            return samples
        if space.kind == "points":
            raise InvalidInput(
                f"samples of {space.name} must be {DTYPES[space.kind]} {['N', *space.shape]}, and {source} has "
                f"{samples.dtype} {list(samples.shape)}."
            )
    elif space.kind == "points":
        raise InvalidInput(f"points must be given as a .npy file, got {source}.")
    found = read_given(reader_for(source, space, images.source))
    samples = fitting_images(found, space, source=images.source)
    for note, count in sorted(Counter(note for picture in found for note in picture.notes).items()):
        click.echo(f"{count:,} of {len(found):,} pictures: {note}")
    return samples


def _array(file: Path) -> np.ndarray:
    from fewstep.data.file_tree import DAMAGED

    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (*DAMAGED, MemoryError):
        raise InvalidInput(f"{file} must hold an array of numbers, as numpy.save writes it (.npy).") from None
    if not isinstance(found, np.ndarray):
        raise InvalidInput(f"{file} must hold one array (.npy), and it holds several (.npz).")
    return found


COMMANDS = (refusing(evaluate),)
