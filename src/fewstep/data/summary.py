"""What was found when data were ingested, in lines for people."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fewstep.data.class_names import class_counts, class_list, numbered
from fewstep.data.store import ArrayStore

CHANNELS = {1: "1 channel (grayscale)", 3: "3 channels (RGB)", 4: "4 channels (RGBA)"}


def describe(store: ArrayStore) -> list[str]:
    """Lines that say what a store holds, what of its source was changed, and what was left out."""
    found = store.source.get("found", {})
    lines = [f"{store.space.name}: {_rows(store)}"]
    if layout := found.get("layout"):
        lines.append(f"  layout: {layout}")
    lines += [f"  {line}" for line in (_split(store), *_classes(store))]
    if sizes := found.get("sizes"):
        lines.append(f"  pictures as found, width x height: {sizes}")
    if found:
        ground = store.source.get("background")
        changed = {_words(kind, ground): seen for kind, seen in found["converted"].items()}
        lines += [f"  {line}" for line in (*_kinds("converted", changed), *_kinds("left out", found["left_out"]))]
    return lines


def counted(classes: Sequence[str], labels: np.ndarray) -> dict[str, int]:
    """{number and name of a class: its rows}, ready for JSON."""
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    return {numbered(place, classes): int(counts[place]) for place in range(len(classes))}


def _rows(store: ArrayStore) -> str:
    shape = store.space.shape
    if store.space.kind == "points":
        return f"{store.count:,} points of {shape[0]} numbers"
    channels, height, width = shape
    colours = CHANNELS.get(channels, f"{channels} channels")
    return f"{store.count:,} images, {height} pixels high and {width} wide, {colours}"


def _split(store: ArrayStore) -> str:
    train, heldout = (stop - start for start, stop in (store.split["train"], store.split["heldout"]))
    drawn: dict[str, Any] = store.source.get("split", {})
    share, how = drawn.get("heldout"), ""
    if share is not None:
        how = f", {share}" if isinstance(share, str) else f", a share of {share} drawn by seed {drawn['seed']}"
    return f"split: {train:,} for training, {heldout:,} held out{how}"


def _classes(store: ArrayStore) -> Iterator[str]:
    """Numbers and names with the count of each, and which of them nothing is known of."""
    classes, labels = store.space.classes, store.labels()
    if not classes:
        yield "classes: none"
        return
    trained = np.bincount(store.labels("train")[store.labels("train") >= 0], minlength=len(classes))
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    yield f"classes: {len(classes):,}, by number, name and count: {class_counts(classes, counts.tolist())}"
    if unlabelled := int((labels < 0).sum()):
        yield f"without a label: {unlabelled:,}"
    if missing := np.flatnonzero(trained == 0).tolist():
        yield f"classes without a training image: {len(missing):,} ({class_list(classes, missing)})"


def _words(kind: str, background: str | None) -> str:
    return f"transparent, shown on {background}" if kind == "transparent" and background else kind


def _kinds(what: str, kinds: dict[str, Any]) -> Iterator[str]:
    """One line for each kind."""
    if not kinds:
        yield f"{what}: nothing"
    for kind, (count, example) in kinds.items():
        yield f"{what}: {kind} ({count:,}){f', such as {example}' if example else ''}"
