"""The levels of a student, where the best are to be found."""

from collections.abc import Sequence
from pathlib import Path

from fewstep.console import progress_bar
from fewstep.evaluation.search import at_kept_levels, keep_levels

LEVELS = "levels.json"  # in the folder of the training


def at_best_levels(student, images, extractor, nfes: Sequence[int], trials: dict, runs: Path):
    """The student at the best levels for held-out images, which scores are not measured against.

    trials: {search_count, batch_size}. runs: where the training's folder is.
    """
    count, batch_size = trials["search_count"], trials["batch_size"]
    with progress_bar(f"levels of {student.spec['name']}") as bar:
        return keep_levels(student, images, extractor, nfes, count, _file(student, runs), batch_size, on_progress=bar)


def at_found_levels(student, runs: Path):
    """The student at the best levels, as far as they were looked for."""
    return at_kept_levels(student, _file(student, runs))


def _file(student, runs: Path) -> Path:
    return runs / student.spec["provenance"]["run"] / LEVELS
