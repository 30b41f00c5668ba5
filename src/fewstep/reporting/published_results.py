"""What papers report, to be seen beside one's own scores: other extractors, more samples, longer trainings."""

import csv
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "published_results.csv"


def published_results(dataset: str) -> list[dict[str, Any]]:
    """The figures of a data set, none if nothing is published for it.

    dataset, method, family, source: words; nfe: a whole number; fid, is, precision, recall: numbers, or None where a
    paper has none.
    """
    with TABLE.open(newline="") as file:
        return [_typed(row) for row in csv.DictReader(file) if row["dataset"] == dataset]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    scores = {name: float(row[name]) if row[name] else None for name in ("fid", "is", "precision", "recall")}
    return {**row, "nfe": int(row["nfe"]), **scores}
