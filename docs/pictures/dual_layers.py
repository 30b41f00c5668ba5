"""Draws dual_layers.png: python docs/pictures/dual_layers.py"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

LAYERS = ["convolution", "GroupNorm", "SiLU", "convolution", "attention"]
KERNELS = [
    "convolution\nwithout bias",
    "its backward\nkernel",
    "its backward\nkernel",
    "convolution\nwithout bias",
    "product\nrule",
]
SHARED = ["weight", "x, mean, rstd", "x", "weight", "Q, K, V, P"]


STEP, HALF = 1.5, 0.6  # from layer to layer; half a box


def main():
    figure, axes = plt.subplots(figsize=(10, 3))
    middles = [STEP * i for i in range(len(LAYERS))]
    for middle, layer, kernel, shared in zip(middles, LAYERS, KERNELS, SHARED, strict=True):
        for height, text, colour in ((2, layer, "#dbe7f6"), (0, kernel, "#fbe3cf")):
            axes.add_patch(plt.Rectangle((middle - HALF, height - 0.4), 2 * HALF, 0.8, fc=colour, ec="#555555"))
            axes.text(middle, height, text, ha="center", va="center", fontsize=9)
        axes.annotate(
            "", (middle, 0.45), (middle, 1.55), arrowprops={"arrowstyle": "-|>", "ls": "--", "color": "#888888"}
        )
        axes.text(middle + 0.07, 1.02, shared, fontsize=8, color="#666666", va="center")
    for height, start, end, colour in (
        (2, "$x$", "$y$, with its graph", "#3367a8"),
        (0, r"$\dot x$", r"$\dot y$, without one", "#c2601a"),
    ):
        for left in (-STEP, *middles):
            ends = (left + STEP - HALF, height), (left + HALF, height)
            axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "lw": 1.5, "color": colour})
        axes.text(-STEP + HALF - 0.1, height, start, ha="right", va="center", fontsize=13, color=colour)
        axes.text(middles[-1] + STEP - HALF + 0.05, height, end, va="center", fontsize=10, color=colour)
    axes.set(xlim=(-1.2, 8.3), ylim=(-0.55, 2.55))
    axes.axis("off")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
