"""Figures by Matplotlib as pictures, and clouds of points. Colours of Okabe and Ito, apart for every eye."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")


def scatter(clouds: Sequence[tuple[str, np.ndarray]], reference: np.ndarray | None = None) -> Image.Image:
    """Points in the plane: a panel for each (title, points [N, 2]), the reference [M, 2] behind them in gray."""
    behind = clouds[0][1] if reference is None else reference
    low, high = behind.min(0), behind.max(0)
    edge = 0.2 * (high - low)
    columns, aspect = min(4, len(clouds)), float(np.clip((high - low)[1] / (high - low)[0], 0.3, 3))
    figure, panels = new_figure(3.1 * columns, (2.9 * aspect + 0.5) * -(-len(clouds) // columns), columns, len(clouds))
    for axes, (title, points) in zip(panels, clouds, strict=True):
        if reference is not None:
            axes.scatter(*behind.T, s=5, color="#C8C8C8", linewidths=0)
        axes.scatter(*points.T, s=5, color=COLOURS[1], alpha=0.7, linewidths=0)
        axes.set(xlim=(low[0] - edge[0], high[0] + edge[0]), ylim=(low[1] - edge[1], high[1] + edge[1]), aspect="equal")
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
    return as_image(figure)


def new_figure(width: float, height: float, columns: int = 1, count: int = 1) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot, and the axes of its panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(-(-count // columns), columns, i + 1) for i in range(count)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, panels


def as_image(figure: Any) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
