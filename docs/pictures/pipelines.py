"""Draws pipelines.png, the nodes and datasets of `kedro run`: python docs/pictures/pipelines.py"""

from itertools import groupby
from pathlib import Path

import matplotlib
import yaml

matplotlib.use("agg")
import matplotlib.pyplot as plt

from fewstep.pipeline_registry import register_pipelines
from fewstep.pipelines.journey import STAGES

PROJECT = Path(__file__).parents[2]
NODE, DATASET, READ, WRITTEN, QUIET = "#dbe7f6", "#fbe3cf", "#3367a8", "#c2601a", "#666666"
READS, WRITES, LEFT, RIGHT = -0.38, -0.28, -0.2, 0.5  # places in a node's column


def folders() -> dict[str, str]:
    """The folder below data/ of each dataset that has one: its layer."""
    catalog = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
    paths = {name: dataset["filepath"].split("/") for name, dataset in catalog.items() if "filepath" in dataset}
    return {name: path[1] for name, path in paths.items() if path[0] == "data"}


def main():
    pipelines = register_pipelines()
    nodes = [(stage, node) for stage in STAGES for node in pipelines[stage].nodes]
    makers = {name: column for column, (_, node) in enumerate(nodes) for name in node.outputs}
    layers = {name: layer for name, layer in folders().items() if name in makers}
    rows = {name: -row for row, name in enumerate(sorted(layers, key=lambda name: (layers[name], makers[name])), 1)}
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    draw_layers(axes, rows, layers, len(nodes))
    for name, row in rows.items():
        readers = [column for column, (_, node) in enumerate(nodes) if name in node.inputs]
        draw_dataset(axes, name, row, makers[name], readers)
    for column, (_, node) in enumerate(nodes):
        draw_node(axes, node, column, rows)
    for stage, columns in groupby(range(len(nodes)), lambda column: nodes[column][0]):
        first, *_, last = [*columns] * 2
        axes.plot((first + READS - 0.06, last + RIGHT), (0.62, 0.62), color=QUIET, lw=1)
        axes.text((first + last + READS - 0.06 + RIGHT) / 2, 0.7, stage, ha="center", fontsize=11, weight="bold")
    axes.set(xlim=(-1.7, len(nodes) - 0.4), ylim=(-len(rows) - 0.5, 1.1))
    axes.axis("off")
    words = "\n".join(told(stage, node, rows) for stage, node in nodes)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=90, metadata={"Description": words})


def told(stage, node, rows) -> str:
    """What is drawn of a node, in words that the file keeps."""
    read, written = (", ".join(name for name in names if name in rows) for names in (node.inputs, node.outputs))
    return f"{stage}, {node.name}: {read} -> {written}"


def draw_layers(axes, rows, layers, columns):
    for shade, (layer, names) in enumerate(groupby(rows, layers.get)):
        heights = [rows[name] for name in names]
        corner = -1.7, min(heights) - 0.5
        axes.add_patch(plt.Rectangle(corner, columns + 1.3, len(heights), fc="#f3f3f3" if shade % 2 == 0 else "white"))
        axes.text(-1.65, sum(heights) / len(heights), layer, va="center", fontsize=9, color=QUIET)


def draw_dataset(axes, name, row, maker, readers):
    """Its box below the node that makes it, and its way to those that read it."""
    axes.add_patch(plt.Rectangle((maker + LEFT, row - 0.32), RIGHT - LEFT, 0.64, fc=DATASET, ec="#555555", zorder=3))
    axes.text(maker + (LEFT + RIGHT) / 2, row, name, ha="center", va="center", fontsize=9, zorder=4)
    if readers:
        axes.plot((maker + RIGHT, max(readers) + READS), (row, row), color=READ, lw=1.2)
        axes.plot([column + READS for column in readers], [row] * len(readers), "o", color=READ, ms=4.5)


def draw_node(axes, node, column, rows):
    """Its box, a line up from what it reads, and one down to what it writes."""
    left, width = column + READS - 0.06, RIGHT - READS + 0.06
    axes.add_patch(plt.Rectangle((left, -0.38), width, 0.86, fc=NODE, ec="#555555", zorder=3))
    label = node.name.replace("_", "_\n")
    axes.text(left + width / 2, 0.05, label, ha="center", va="center", fontsize=9, zorder=4)
    read, written = ([rows[name] for name in names if name in rows] for names in (node.inputs, node.outputs))
    if read:
        arrow = {"arrowstyle": "-|>", "color": READ, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (column + READS, -0.38), (column + READS, min(read)), arrowprops=arrow)
    if written:
        axes.plot([column + WRITES] * 2, (-0.38, min(written)), color=WRITTEN, lw=1.2)
    for row in written:
        arrow = {"arrowstyle": "-|>", "color": WRITTEN, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (column + LEFT, row), (column + WRITES, row), arrowprops=arrow)


if __name__ == "__main__":
    main()
