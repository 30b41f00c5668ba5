"""Data of any source, in one array store."""

from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from fewstep.data.cifar10 import Cifar10
from fewstep.data.digits import Digits
from fewstep.data.folder import Folder
from fewstep.data.moons import Moons
from fewstep.data.parquet import Parquet
from fewstep.data.patches import Patches
from fewstep.data.source import Source, Survey
from fewstep.data.space import SCALES, DataSpace
from fewstep.data.split import stored_positions, stratified_split
from fewstep.data.store import ArrayStore, write_store
from fewstep.data.summary import counted, describe
from fewstep.support.checks import above, between, check_value, inside, optional, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

__all__ = [
    "SOURCES",
    "ArrayStore",
    "DataSpace",
    "Source",
    "Survey",
    "describe",
    "expected_space",
    "ingest",
    "load_source",
    "write_store",
]

NUMERICS = 1  # of a store's content, and of what a model sees of it: see fewstep.training.numerics
# A shape that is the same for every instance is a class variable, where the protocol has a property.
KINDS = cast(tuple[type[Source], ...], (Digits, Moons, Patches, Folder, Parquet, Cifar10))
SOURCES = {source.name: source for source in KINDS}


def load_source(spec: dict[str, Any]) -> Source:
    """The source of spec {name, ...its arguments}. Raises ValueError for what is unknown, missing or out of range."""
    arguments = dict(spec)
    source = SOURCES[check_name("data source", arguments.pop("name", None), SOURCES)]
    kind = cast(Any, source)  # a protocol cannot say that its classes are dataclasses
    for argument in arguments:
        check_name("argument", argument, [f.name for f in fields(kind)], f"the data source {source.name}")
    if missing := [f.name for f in fields(kind) if f.default is MISSING and f.name not in arguments]:
        raise InvalidInput(f"the data source {source.name} needs {', '.join(missing)}.")
    return source(**arguments)


def expected_space(source: dict[str, Any], name: str) -> DataSpace | None:
    """What a source is to give, before any of it is read; None where only the data can tell. Classes are not known."""
    shape = load_source(source).shape
    if shape is None:
        return None
    return DataSpace(name, "points" if len(shape) == 1 else "images", shape, 1.0, ("any",))


def ingest(
    source: dict[str, Any],
    folder: str | Path,
    *,
    name: str | None = None,
    sigma_data: float = 0.5,
    scale: float | None = None,
    heldout: float = 0.25,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> ArrayStore:
    """Check all of a source, then write it to a store in `folder`; what fails leaves an older store as it was.

    name: of the data set, by default the source's. heldout: the share of rows that is held out, of each label, drawn by
    seed; a source with a split of its own keeps that. sigma_data: the standard deviation of what models will see.
    scale: what values are multiplied by instead, where a model that is there already wants it.
    on_progress(done, total): pictures are counted twice, once when checked and once when written.
    """
    check_value("heldout", heldout, inside(0, 1))
    check_value("sigma_data", sigma_data, above(0))
    check_value("seed", seed, whole(between(0, 2**32 - 1)))
    check_value("scale", scale, optional(between(*SCALES)))
    loaded = load_source(source)
    report = on_progress or (lambda done, total: None)
    survey = loaded.survey(lambda done, total: report(done, 2 * total))
    held = stratified_split(survey.labels, heldout, seed) if survey.heldout is None else survey.heldout
    positions = stored_positions(held, seed)
    labels = np.empty_like(survey.labels)
    labels[positions] = survey.labels
    facts = {
        "name": loaded.name,
        **asdict(cast(Any, loaded)),
        "split": {"heldout": heldout if survey.heldout is None else "the source's own", "seed": seed},
        "found": {**survey.findings.to_json(), "classes": counted(survey.classes, survey.labels)},
    }
    return write_store(
        folder,
        survey.rows(),
        labels,
        DataSpace(name or loaded.name, survey.kind, survey.shape, 1.0, survey.classes),
        train=int((~held).sum()),
        positions=positions,
        sigma_data=sigma_data,
        scale=scale,
        source=facts,
        on_progress=lambda done, total: report(survey.checked + done, survey.checked + total),
    )
