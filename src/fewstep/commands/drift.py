"""`fewstep drift`: whether what is served now still looks like what the model gave when it was registered."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV, MODEL, nfe_option
from fewstep.commands.project import champion_of_project, check_makes, context_of, judged_by, model_of
from fewstep.support.errors import InvalidInput
from fewstep.support.files import home_path

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.results import Score
    from fewstep.serving.client import Client

DRIFTED = 3  # the exit code, where 1 is that nothing could be compared
WEB = ("http://", "https://")


@click.command()
@click.argument("source")
@ENV
@DATASET
@MODEL
@click.option("--heldout", is_flag=True, help="Compare with the held-out data instead of the model; needs --bound.")
@nfe_option("Network evaluations per image.", default=1, show_default=True)
@click.option(
    "--count", default=1000, show_default=True, type=click.IntRange(1), help="Pictures on each side, at most."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32), help="Of the first served picture."
)
@click.option(
    "--bound", default=None, type=click.FloatRange(0), help="The lowest KID that counts as drift.  [default: 0]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def drift(
    source: str,
    env: str | None,
    dataset: str | None,
    model: str | None,
    heldout: bool,
    nfe: int,
    count: int,
    seed: int,
    bound: float | None,
    as_json: bool,
) -> None:
    """Compare pictures of a server (its address), or saved ones (a folder, a zip, a tar, .npy, .npz), with those that
    the registered model gives here, by KID.

    A server is compared with the version that it says it serves, saved pictures with the project's champion. If the
    whole interval of KID is above the bound, the exit code is 3, and the targets of tracking.notify are told.

    \b
        fewstep drift http://127.0.0.1:5001
        fewstep drift served/ --model models:/fewstep-digits/2 --nfe 2
        fewstep drift http://127.0.0.1:5001 --heldout --bound 0.05 --count 300
    """
    from fewstep.evaluation.differing_sets import check_count
    from fewstep.evaluation.differing_sets import drift as drift_of
    from fewstep.tracking.notify import notify

    check_count(count)
    if heldout and (bound is None or model):
        raise InvalidInput(
            "--heldout compares with data, from which the pictures of any model differ: give it a --bound (above the "
            "KID that fewstep evaluate prints for the model), and no --model."
        )
    context = context_of(env, dataset=dataset)
    images, extractor = judged_by(context, "drift needs")
    if extractor is None:
        raise InvalidInput(f"drift is of pictures, and {images.space.name} has {images.space.kind}.")
    pictures, version = _served(source, images, nfe, count, seed)
    if heldout:
        known, beside = images.images("heldout")[:count], f"the held-out images of {images.space.name}"
    else:
        beside = model or version or champion_of_project(env, dataset)
        known = _of_model(beside, images, nfe, len(pictures), seed)
    found = drift_of(extractor(pictures).features, extractor(known).features)
    said = _said(source, beside, found, bound or 0.0) | {"pictures": len(pictures), "nfe": nfe}
    click.echo(json.dumps(said, indent=2) if as_json else said["text"])
    if said["drifted"]:
        notify(context.typed.tracking.notify, "drift", str(said.pop("text")), dataset=context.typed.dataset, **said)
        raise click.exceptions.Exit(DRIFTED)


def _said(source: str, beside: str, found: "Score", bound: float) -> dict[str, Any]:
    """The result, ready for JSON, with a sentence for people."""
    from fewstep.evaluation.interval import CONFIDENCE

    assert found.interval is not None
    low, high = found.interval
    drifted = low > bound
    words = f"drift: {source} differs from {beside}" if drifted else f"no drift of {source} from {beside}"
    text = f"{words}: KID {found.mean:.2g}, {CONFIDENCE:.0%} interval {low:.2g} to {high:.2g}, bound {bound:g}"
    return {"text": text, "drifted": drifted, "kid": found.mean, "interval": found.interval, "bound": bound}


def _served(source: str, images: "ArrayStore", nfe: int, count: int, seed: int) -> tuple[np.ndarray, str | None]:
    """The served pictures, uint8 [N, C, H, W], and the registered version that made them, if a server names one."""
    from fewstep.commands.evaluation import read_samples
    from fewstep.console import progress_bar
    from fewstep.serving.client import Client

    if not source.startswith(WEB):
        return read_samples(home_path(Path(source)), images)[:count], None
    with progress_bar("served") as bar:
        pictures, made_by = _asked(Client(source), nfe, count, seed, bar)
    if pictures.shape[1:] != images.space.shape:
        raise InvalidInput(
            f"{source} must serve pictures of {images.space.shape}, as {images.space.name} are, got "
            f"{pictures.shape[1:]}."
        )
    return pictures, f"models:/{made_by[0]}/{made_by[1]}" if made_by[0] else None


def _asked(client: "Client", nfe: int, count: int, seed: int, bar: Any) -> tuple[np.ndarray, tuple[str | None, ...]]:
    """Pictures in as many calls as it takes, each with the next seed; name, version and hash of the model."""
    from fewstep.serving.most import MOST_EVALUATIONS, MOST_IMAGES

    size, made, by = max(1, min(MOST_IMAGES, MOST_EVALUATIONS // nfe)), [], set[tuple[str | None, ...]]()
    for first in range(0, count, size):
        part = min(size, count - first)
        (answer,) = client.ask({"num_images": part, "nfe": nfe, "seed": seed + first // size})
        made.append(client.arrays(answer))
        by.add(tuple(answer.get(name) for name in ("model", "version", "model_sha256")))
        bar(first + part, count)
    if len(by) > 1:
        raise InvalidInput(f"the model at {client.address} has changed while its pictures were asked for: ask again.")
    return np.concatenate(made), by.pop()


def _of_model(place: str, images: "ArrayStore", nfe: int, count: int, seed: int) -> np.ndarray:
    """Pictures of a model, of other seeds than the served ones have."""
    from fewstep.evaluation.sample_stream import in_batches

    model = model_of(place)
    check_makes(place, model, images)
    return in_batches(lambda indices: model.sample(nfe=nfe, seed=seed + count, indices=indices), count, 256)


COMMANDS = (refusing(drift),)
