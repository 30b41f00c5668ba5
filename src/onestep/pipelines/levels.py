"""The levels of a student, where the best are to be found."""

from collections.abc import Sequence
from pathlib import Path

from onestep.console import progress_bar
from onestep.evaluation.search import keep_levels

LEVELS = "levels.json"  # in the folder of the training


def at_best_levels(student, images, extractor, nfes: Sequence[int], trials: dict, runs: Path):
    """The student at the best levels for held-out images, which scores are not measured against.

    trials: {search_count, batch_size}. runs: where the training's folder is.
    """
    file = runs / student.spec["provenance"]["run"] / LEVELS
    count, batch_size = trials["search_count"], trials["batch_size"]
    with progress_bar(f"levels of {student.spec['name']}") as bar:
        return keep_levels(student, images, extractor, nfes, count, file, batch_size, on_progress=bar)
