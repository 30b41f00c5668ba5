"""What later stages need of data and parameters, asked before the first of them costs time."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from kedro.pipeline import Pipeline

from fewstep.autoencoders import Autoencoder
from fewstep.config.parameters import EditingParameters, EvaluationParameters
from fewstep.data.latent_store import LatentStore
from fewstep.data.space import DataSpace
from fewstep.data.store import DESCRIPTION, ArrayStore
from fewstep.editing import fitting_tasks
from fewstep.evaluation.memorisation import NEAREST, TrainingSet
from fewstep.evaluation.reference_files import read_references
from fewstep.evaluation.scores import FEWEST
from fewstep.support.errors import InvalidInput
from fewstep.support.files import home_path
from fewstep.support.json_text import parse_json
from fewstep.training.recipe import Recipe

COUNTED = 10_000  # training images, of fewer it is counted how many differ
EDITED_BY = ("multistep", "gamma")  # samplers of students that edit
PLACES = ("name", "path", "root", "train", "test")  # of a source: which data it is


def nodes_of(pipeline: Pipeline, *beginnings: str) -> list[str]:
    """The names of the nodes of a run that begin so."""
    return [node.name for node in pipeline.nodes if node.name.startswith(beginnings)]


def check_editing(pipeline: Pipeline, editing: EditingParameters, student: Recipe, space: DataSpace | None) -> None:
    """Raise InvalidInput where `edit` could not do its tasks. space: None while only the data can tell."""
    if not nodes_of(pipeline, "edit_gallery"):
        return
    if nodes_of(pipeline, "train_student") and student.objective.sampler not in EDITED_BY:
        raise InvalidInput(
            f"only consistency functions edit images, and {student.name} is sampled with {student.objective.sampler}: "
            "choose another recipe, or leave the pipeline edit out."
        )
    if editing.source and not home_path(editing.source).exists():
        raise InvalidInput(
            f"editing.source must be a picture or a folder of pictures, and there is no {editing.source}."
        )
    if space:
        fitting_tasks(editing.tasks, space)


def check_scores(pipeline: Pipeline, images: ArrayStore, evaluation: EvaluationParameters, without: str) -> None:
    """Raise InvalidInput where there are too few images for the scores of a run; say so where there is no floor.

    without: the command that trains without scores.
    """
    if not nodes_of(pipeline, "score_", "promote_version"):
        return
    name, train, heldout = images.space.name, images.images("train"), len(images.images("heldout"))
    if len(train) < FEWEST:
        raise InvalidInput(
            f"scores need at least {FEWEST} images to compare with, and {name} train on {len(train)}: add images, or "
            f"hold out fewer (data.heldout). To train without scores: {without}"
        )
    if len(train) <= COUNTED and (found := len(TrainingSet(train).indices)) < NEAREST:
        raise InvalidInput(
            f"scores need at least {NEAREST} different images to compare with, and {name} train on {found}, repeated. "
            f"To train without scores: {without}"
        )
    if heldout >= FEWEST:
        return
    if set(nodes_of(pipeline, "score_")) - {"score_models", "score_samplers", "score_reference"}:
        raise _few_to_search("a comparison searches the noise levels of each student", name, heldout)
    if evaluation.levels == "search" and nodes_of(pipeline, "score_models"):
        raise _few_to_search(
            "evaluation.levels=search searches the noise levels of the student",
            name,
            heldout,
            ", or keep evaluation.levels=recipe",
        )
    print(f"only {heldout} images of {name} are held out, and a floor needs {FEWEST}: there will be none.", flush=True)


def check_references(pipeline: Pipeline, evaluation: EvaluationParameters, space: DataSpace | None) -> None:
    """Raise InvalidInput where evaluation.reference does not fit. space: None while only the data can tell."""
    if not nodes_of(pipeline, "score_models", "score_samplers"):
        return
    for reference in read_references(evaluation.reference):
        reference.check_features(evaluation.features)
        if space:
            reference.check_space(space)


def _few_to_search(what: str, name: str, heldout: int, otherwise: str = "") -> InvalidInput:
    return InvalidInput(
        f"{what} on at least {FEWEST} held-out images, and {name} hold out {heldout}: hold out more "
        f"(data.heldout){otherwise}."
    )


def check_labels(recipes: Iterable[Recipe], images: ArrayStore) -> None:
    """Raise InvalidInput where a class-conditional training would meet images without labels."""
    conditional = [recipe.name for recipe in recipes if recipe.training.labels]
    without = int((np.asarray(images.labels("train")) < 0).sum()) if conditional and images.space.classes else 0
    if without:
        raise InvalidInput(
            f"{conditional[0]}: training.labels must be false, since {without} of the images of {images.space.name} "
            "have no label."
        )


def check_latents(latents: LatentStore | None, autoencoder: str | None, remake: str) -> None:
    """Raise InvalidInput where latents are not those of the autoencoder that is asked for. remake: the command."""
    if latents is None or autoencoder is None:
        return
    found, wanted = latents.space.latents.autoencoder, Autoencoder.open(autoencoder).sha256
    if found != wanted:
        raise InvalidInput(
            f"{latents.folder} has the latents of another autoencoder than data.autoencoder, {autoencoder} (hash "
            f"{found[:12]}, not {wanted[:12]}). To encode the images again: {remake}"
        )


def check_replacing(folder: Path, source: Mapping[str, Any]) -> None:
    """Raise InvalidInput where an ingestion would replace the data of another source. folder: of the store."""
    try:
        before = parse_json((folder / DESCRIPTION).read_text())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # there is nothing that could be lost
    if not isinstance(before, dict) or "name" not in before:
        return
    for key in PLACES:
        if _same_place(before.get(key), source.get(key)) or not (before.get(key) or source.get(key)):
            continue
        raise InvalidInput(
            f"{folder} holds the data of {_words(before)}, and data.source now is {_words(source)}. Give the new data "
            "a name of their own (--params=dataset=NAME), or replace the old ones with --params=fresh=true."
        )


def _same_place(one: Any, other: Any) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return one == other
    return one == other or home_path(one).resolve() == home_path(other).resolve()


def _words(source: Mapping[str, Any]) -> str:
    """A source for people: its kind, and its place if it has one."""
    places = [str(source[key]) for key in PLACES[1:] if source.get(key)]
    return f"{source['name']} {', '.join(places)}" if places else f"the source {source['name']}"
