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


def main():
    figure, axes = plt.subplots(figsize=(9.5, 3.3))
    arrow = dict(arrowstyle="-|>", lw=1.4)
    for place, texts in enumerate(zip(LAYERS, KERNELS, SHARED, strict=True)):
        for height, text, face in ((2, texts[0], "#dbe7f6"), (0, texts[1], "#fbe3cf")):
            axes.text(
                place,
                height,
                text,
                ha="center",
                va="center",
                fontsize=10,
                bbox=dict(boxstyle="round,pad=.45", fc=face, ec="#555"),
            )
        axes.annotate("", (place, 0.48), (place, 1.62), arrowprops=dict(arrowstyle="-|>", lw=1, ls="--", color="#888"))
        axes.text(place + 0.05, 1.05, texts[2], fontsize=9, color="#666", va="center")
    for height, name, colour in ((2, "x", "#3367a8"), (0, r"$\dot x$", "#c2601a")):
        for left in (-0.95, *[i + 0.43 for i in range(4)], 4.43):
            right = left + (0.42 if left < 0 else 0.4 if left > 4 else 0.14)
            axes.annotate("", (right, height), (left, height), arrowprops=arrow | {"color": colour})
        end = "y, with its graph" if height else r"$\dot y$, without one"
        axes.text(-1.0, height, name, ha="right", va="center", fontsize=13, color=colour)
        axes.text(4.88, height, end, va="center", fontsize=10, color=colour)
    axes.set(xlim=(-1.25, 6.0), ylim=(-0.65, 2.6))
    axes.axis("off")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
