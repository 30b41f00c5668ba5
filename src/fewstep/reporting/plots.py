"""Plots of scores: quality against network evaluations, and against what training costs."""

from itertools import cycle, islice
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fewstep.evaluation.results import Evaluation
from fewstep.pictures.plotting import COLOURS, as_image, new_figure
from fewstep.reporting.leaderboard import Leaderboard

if TYPE_CHECKING:
    from matplotlib.axis import Axis

MARKERS = "osD^vPX"
GRAY = "#555555"
APART = 1.25  # of two ticks on an axis of logarithms, at least
NAMES = {"fid": "FID", "kid": "KID", "is": "IS", "precision": "precision", "recall": "recall"}


def ladder_plot(
    evaluation: Evaluation, score: str | None = None, title: str | None = None, width: float = 7.2
) -> Image.Image:
    """Quality (log) against NFE (log): a line for each model and sampler, the floor as a dashed line.

    score: the primary one by default. With several seeds, bars span their intervals.
    """
    score, measurement = score or evaluation.primary, evaluation.measurement
    kinds = dict.fromkeys((row.model, row.sampler) for row in evaluation.rows)
    figure, [axes] = new_figure(width, 4.2 + 0.24 * len(kinds))
    for (model, sampler), (colour, marker, line) in zip(kinds, _styles(len(kinds)), strict=True):
        rows = sorted((r for r in evaluation.rows if (r.model, r.sampler) == (model, sampler)), key=lambda r: r.nfe)
        found, nfe = [row.scores[score] for row in rows], [row.nfe for row in rows]
        mean = np.array([f.mean for f in found])
        span = np.array([f.interval[1] - f.mean if f.interval else 0.0 for f in found])
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
        style |= {"markersize": 7, "markeredgecolor": "white", "linewidth": 2}
        axes.errorbar(nfe, mean, span if span.any() else None, capsize=3, label=f"{model}, {sampler}", **style)
    floor = evaluation.floor.scores.get(score)
    real = floor.mean if floor else 1.0
    label = f"floor: held-out data ({_number(real)})" if floor else "no floor: too few held-out data"
    axes.axhline(real, color=GRAY, linestyle="--", linewidth=1.4 if floor else 0, label=label)
    ticks: list[int] = []
    for nfe in sorted({row.nfe for row in evaluation.rows}):
        ticks += [nfe] if not ticks or nfe > APART * ticks[-1] else []
    scale = "linear" if not _falls(score) else "log" if real > 0 else "symlog"
    axes.set(xscale="log", yscale=scale, xlabel="network evaluations per sample (NFE)")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(lambda *_: "")  # 3 x 10^0 between 2 and 4
    _tick(axes.yaxis)
    axes.tick_params(which="minor", bottom=False, left=False)
    axes.set_ylabel(f"{_name(score)} (lower is better)" if _falls(score) else _name(score))
    note = f"{measurement.count} samples, {len(measurement.seeds)} seed{'s' * (len(measurement.seeds) > 1)}"
    note += ", provisional" if evaluation.provisional else ""
    title = title or f"{measurement.dataset}: quality against cost ({note})"
    axes.set_title(fill(title, int(9 * width)), loc="left", fontsize=11)
    lines, labels = axes.get_legend_handles_labels()  # bars come after lines: the floor is the first
    figure.legend(lines[1:] + lines[:1], labels[1:] + labels[:1], frameon=False, fontsize=10, loc="outside lower left")
    return as_image(figure)


def cost_plot(board: Leaderboard) -> Image.Image:
    """Quality (log) against seconds of training, including those of a teacher: a point for each method and NFE."""
    score, methods = board.primary, board.methods
    figure, [axes] = new_figure(7.2, 4.2 + 0.24 * -(-len(methods) // 4 + 1))
    for entry, (colour, _, line) in zip(methods, _styles(len(methods)), strict=True):
        seconds = entry.seconds + board.teacher_seconds * entry.taught
        means = [row.scores[score].mean for row in entry.rows]
        axes.plot([seconds] * len(means), means, line, color=colour, linewidth=1, label=entry.recipe)
        for mean, marker in zip(means, MARKERS, strict=False):
            axes.plot(seconds, mean, marker, color=colour, markersize=8, markeredgecolor="white")
    for nfe, marker in zip(board.nfes, MARKERS, strict=False):
        axes.plot([], [], marker, color=GRAY, markersize=8, label=f"{nfe} NFE")
    axes.set(yscale="log", xlabel="seconds of training, of its teacher too where it has one")
    axes.set_ylabel(f"{_name(score)} (lower is better)")
    _tick(axes.yaxis)
    axes.set_title(f"{board.measurement.dataset}: quality against the cost of training", loc="left", fontsize=11)
    figure.legend(frameon=False, fontsize=10, loc="outside lower left", ncols=5)
    return as_image(figure)


def _styles(count: int) -> list[tuple[str, str, str]]:
    """Colour, marker and line style of each. When colours repeat, the line style changes."""
    lines = (("-", ":", "--")[n // len(COLOURS) % 3] for n in range(count))
    return list(zip(islice(cycle(COLOURS), count), islice(cycle(MARKERS), count), lines, strict=True))


def _tick(axis: "Axis") -> None:
    """Labels as plain numbers; on a logarithmic axis at 1, 2 and 5 times a power of ten."""
    from matplotlib.ticker import LogLocator

    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(lambda *_: "")
    axis.set_major_formatter(lambda value, _: _number(value))


def _name(score: str) -> str:
    kind, _, extractor = score.partition("_")
    words = NAMES.get(kind, {"wasserstein": "Wasserstein-2 distance"}.get(kind, kind))
    return f"{words}, features: {extractor}" if extractor else words


def _falls(score: str) -> bool:
    return score.split("_")[0] in ("fid", "kid", "wasserstein", "memorisation")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
