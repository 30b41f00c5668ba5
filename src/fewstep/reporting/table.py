"""Scores as a plain table."""

from collections.abc import Sequence

from fewstep.evaluation.interval import CONFIDENCE
from fewstep.evaluation.results import Evaluation, Floor, Measurement, Row, Score


def scores_table(evaluation: Evaluation) -> str:
    """A row for each model, sampler and NFE, the floor last, and behind it that of an autoencoder; means over seeds ±
    half an interval.
    """
    rows, floor, names = evaluation.rows, evaluation.floor, score_names(evaluation)
    lines = [["model", "sampler", "NFE", *names, "images/s"]]
    for row in rows:
        cells = [cell(row.scores.get(name)) for name in names]
        lines.append([row.model, row.way, str(row.nfe or "-"), *cells, speed(row)])
    floors = [("held-out", floor), ("decoded", evaluation.autoencoder)]
    last = [["floor", said, "", *(cell(of.scores.get(name)) for name in names), ""] for said, of in floors if of]
    text = aligned([*lines, *last], text=2).split("\n")
    rule = "-" * max(map(len, text))
    head = [*caption(evaluation.measurement, floor), "", text[0], rule]
    return "\n".join([*head, *_grouped(text[1 : -len(last)], rows), rule, *text[-len(last) :]])


def score_names(evaluation: Evaluation) -> list[str]:
    """Every score of any row or floor, the primary first."""
    parts = [*evaluation.rows, evaluation.floor, *filter(None, (evaluation.autoencoder,))]
    found = [evaluation.primary, *(name for part in parts for name in part.scores)]
    return list(dict.fromkeys(found))


def aligned(lines: list[list[str]], text: int) -> str:
    """Lines of cells in columns: the first `text` of them to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    places = [str.ljust] * text + [str.rjust] * (len(widths) - text)
    rows = (zip(line, widths, places, strict=True) for line in lines)
    return "\n".join("  ".join(place(cell, width) for cell, width, place in row).rstrip() for row in rows)


def caption(measurement: Measurement, floor: Floor) -> list[str]:
    """What was measured, and how."""
    seeds, extractor, count = measurement.seeds, measurement.extractor, measurement.count
    words = f"{count} samples of each of {len(seeds)} seeds" if len(seeds) > 1 else f"{count} samples"
    lines = [f"{measurement.dataset}: {words} against the training data"]
    if len(seeds) > 1:
        lines.append(f"mean of the seeds {', '.join(map(str, seeds))} ± half of its interval of {CONFIDENCE:.0%}")
    if extractor:
        lines[0] += f"; features of the extractor {extractor.name} ({extractor.sha256[:8]})"
    if measurement.provisional:
        lines.append(f"provisional: {len(seeds)} seed{'s' * (len(seeds) > 1)}, where a full evaluation takes three")
    if floor.note:
        lines.append(f"floor: {floor.note}")
    return lines


def _grouped(text: list[str], rows: Sequence[Row]) -> list[str]:
    """A blank line between models and between samplers."""
    kinds = [(row.model, row.way) for row in rows]
    return [line for i, line in enumerate(text) for line in ([""] * (i > 0 and kinds[i] != kinds[i - 1]) + [line])]


def speed(row: Row) -> str:
    """Images per second; "-" of samples that were given."""
    return "-" if row.images_per_second is None else f"{row.images_per_second:,.0f}"


def cell(score: Score | None) -> str:
    """A score for people: its mean over seeds, and half of its interval."""
    if score is None:
        return "-"
    mean, reached = score.mean, score.interval
    digits = 1 if abs(mean) >= 100 else 2 if abs(mean) >= 10 else 3 if abs(mean) >= 0.1 else 4
    return f"{mean:.{digits}f}" + (f" ±{reached[1] - mean:.{digits}f}" if reached else "")
