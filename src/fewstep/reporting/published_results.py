"""Scores from papers, to be shown beside ours: of other extractors, more samples and longer trainings."""

import csv
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "published_results.csv"


def published_results(dataset: str) -> list[dict[str, Any]]:
    """The published scores for a data set; [] if there are none.

    dataset, method, family, source: texts. nfe: a whole number. fid, is, precision, recall: numbers, or None if the
    paper does not report them.
    """
    with TABLE.open(newline="") as file:
        return [_typed(row) for row in csv.DictReader(file) if row["dataset"] == dataset]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    scores = {name: float(row[name]) if row[name] else None for name in ("fid", "is", "precision", "recall")}
    return {**row, "nfe": int(row["nfe"]), **scores}
