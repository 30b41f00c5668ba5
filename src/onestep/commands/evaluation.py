"""`onestep evaluate`: scores of a model, or of samples made by anyone."""

import json
from pathlib import Path

import click
import numpy as np

from onestep.commands.project import context_of, model_of, place_of
from onestep.commands.refusals import refusing


@click.command()
@click.argument("source")
@click.option("--env", default=None, help="The configuration, as for kedro run: its data and features are used.")
@click.option(
    "--steps", multiple=True, default=(1,), type=click.IntRange(1), help="Network evaluations; may be given again."
)
@click.option("--sampler", default=None, help="By default the model's own; a teacher has several.")
@click.option(
    "--count", default=None, type=click.IntRange(1), help="Samples of each seed.  [default: evaluation.count]"
)
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="[default: evaluation.full_seeds]")
@click.option(
    "--beside", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), help="scores.json."
)
@click.option("--output", default=None, type=click.Path(path_type=Path, dir_okay=False), help="Keep scores.json here.")
def evaluate(source: str, env: str | None, steps, sampler, count, seeds, beside, output: Path | None) -> None:
    """Scores of a registered model, of a finished model's folder, of a folder of pictures, or of samples (.npy).

    \b
        onestep evaluate models:/onestep-digits@champion --steps 1 --steps 2
        onestep evaluate pictures/ --beside data/08_reporting/digits/cd/scores.json
    """
    from onestep.evaluation.ladder import joined
    from onestep.evaluation.table import scores_table

    context = context_of(env)
    catalog, evaluation = context.catalog, context.params["evaluation"]
    for name in ("images", "extractor"):
        if not catalog.exists(name):
            raise ValueError(f"scores need {name}, not at {place_of(catalog, name)}: kedro run --pipelines=ingest")
    images, extractor = catalog.load("images"), catalog.load("extractor")
    sizes = {"count": count or evaluation["count"], "seeds": list(seeds or evaluation["full_seeds"])}
    if source.startswith("models:/") or (Path(source) / "model.json").is_file():
        found = _of_model(source, images, extractor, steps, sampler, evaluation["batch_size"], sizes)
    else:
        found = _of_samples(Path(source).expanduser(), images, extractor, sizes)
    if output:
        output.write_text(json.dumps(found, indent=2) + "\n")
    click.echo(scores_table(joined([found, *(json.loads(file.read_text()) for file in beside)])))


def _of_model(source: str, images, extractor, steps, sampler, batch_size: int, sizes: dict) -> dict:
    from onestep.console import progress_bar
    from onestep.evaluation.ladder import evaluate, rungs_of

    model = model_of(source)
    if model.space.shape != images.space.shape:
        raise ValueError(f"{source} makes {model.space.shape}, and {images.space.name} are {images.space.shape}.")
    rungs = rungs_of(model, sampler or model.samplers[0], sorted(set(steps)))
    with progress_bar("evaluate") as bar:
        return evaluate(rungs, images, extractor, **sizes, batch_size=batch_size, on_progress=bar)


def _of_samples(source: Path, images, extractor, sizes: dict) -> dict:
    from onestep.data.store import DTYPES
    from onestep.editing import read_images
    from onestep.evaluation.ladder import evaluate_given

    space = images.space
    if source.suffix == ".npy" and source.is_file():
        samples = np.load(source, mmap_mode="r", allow_pickle=False)
    elif space.kind == "points":
        raise ValueError(f"{source} is no .npy file: points are not in pictures.")
    else:
        samples = read_images(source, space)[1]
    if samples.shape[1:] != space.shape or samples.dtype != DTYPES[space.kind]:
        raise ValueError(
            f"{source} has {samples.dtype} {list(samples.shape)}: samples of {space.name} are {DTYPES[space.kind]} "
            f"{['N', *space.shape]}."
        )
    return evaluate_given(samples, source.name, images, extractor, **sizes)


COMMANDS = (refusing(evaluate),)
