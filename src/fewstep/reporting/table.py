"""Scores as a plain table."""

from fewstep.evaluation.interval import CONFIDENCE


def scores_table(scores: dict) -> str:
    """The table of a scores.json: a row for each model and NFE, the floor last; means over seeds ± half an interval."""
    names = list(dict.fromkeys(name for row in [*scores["rows"], scores["floor"]] for name in row["scores"]))
    lines = [["model", "sampler", "NFE", *names, "images/s"]]
    for row in scores["rows"]:
        cells = [cell(row["scores"].get(name)) for name in names]
        lines.append([row["model"], row["sampler"], str(row["nfe"] or "-"), *cells, speed(row)])
    lines.append(["floor", "held-out", "", *(cell(scores["floor"]["scores"].get(name)) for name in names), ""])
    text = aligned(lines, text=2).split("\n")
    rule = "-" * max(map(len, text))
    return "\n".join([*caption(scores), "", text[0], rule, *_grouped(text[1:-1], scores["rows"]), rule, text[-1]])


def aligned(lines: list[list[str]], text: int) -> str:
    """Lines of cells in columns: the first `text` of them to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    places = [str.ljust] * text + [str.rjust] * (len(widths) - text)
    rows = (zip(line, widths, places, strict=True) for line in lines)
    return "\n".join("  ".join(place(cell, width) for cell, width, place in row).rstrip() for row in rows)


def caption(scores: dict) -> list[str]:
    """What was measured, and how."""
    seeds, extractor = scores["seeds"], scores["extractor"]
    words = (
        f"{scores['count']} samples of each of {len(seeds)} seeds" if len(seeds) > 1 else f"{scores['count']} samples"
    )
    lines = [f"{scores['dataset']}: {words} against the training data"]
    if len(seeds) > 1:
        lines.append(f"mean of the seeds {', '.join(map(str, seeds))} ± half of its interval of {CONFIDENCE:.0%}")
    if extractor:
        lines[0] += f"; features of the extractor {extractor['name']} ({extractor['sha256'][:8]})"
    if scores["provisional"]:
        lines.append(f"provisional: {len(seeds)} seed{'s' * (len(seeds) > 1)}, where a full evaluation takes three")
    if note := scores["floor"].get("note"):
        lines.append(f"floor: {note}")
    return lines


def first_score(scores: dict) -> str:
    """The name of the score that judges: FID, or the Wasserstein distance for points."""
    return next(iter(scores["rows"][0]["scores"]))


def _grouped(text: list[str], rows: list[dict]) -> list[str]:
    """A blank line between models and between samplers."""
    kinds = [(row["model"], row["sampler"]) for row in rows]
    return [line for i, line in enumerate(text) for line in ([""] * (i > 0 and kinds[i] != kinds[i - 1]) + [line])]


def speed(row: dict) -> str:
    """Images a second, where it is known who made them."""
    return "-" if row["images_per_second"] is None else f"{row['images_per_second']:,.0f}"


def cell(score: dict | None) -> str:
    """A score for people: its mean over seeds, and half of its interval."""
    if score is None:
        return "-"
    mean, reached = score["mean"], score["interval"]
    digits = 1 if abs(mean) >= 100 else 2 if abs(mean) >= 10 else 3 if abs(mean) >= 0.1 else 4
    return f"{mean:.{digits}f}" + (f" ±{reached[1] - mean:.{digits}f}" if reached else "")
