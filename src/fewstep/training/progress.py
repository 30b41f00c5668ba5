"""What a training says while it runs: lines of JSON and pictures in its folder, for whoever wants to follow."""

import json
from pathlib import Path

import numpy as np

from fewstep.support.files import naming_full_disk


class ProgressLog:
    """Appends to <run_dir>/progress.jsonl and <run_dir>/pictures."""

    def __init__(self, run_dir: Path):
        self.file = run_dir / "progress.jsonl"
        self.pictures = run_dir / "pictures"
        self.pictures.mkdir(parents=True, exist_ok=True)

    def write(self, **facts: object):
        """One line, in one write."""
        with naming_full_disk("a line of progress", self.file), self.file.open("a") as file:
            file.write(json.dumps(facts) + "\n")

    def picture(self, key: str, images: int, samples: np.ndarray):
        """Samples: a grid of uint8 [N, C, H, W], a scatter of points [N, 2]."""
        from fewstep.pictures.drawing import draw

        final = self.pictures / f"{key}_{images:09d}.png"
        with naming_full_disk("a picture", self.pictures):
            draw(samples, title=key).save(final.with_suffix(".new"), format="PNG")
            final.with_suffix(".new").rename(final)
