"""Draws hero.png: samples of the student of digits and of its teacher from the same noise, with speed and score.

python docs/pictures/hero.py [project] [metrics]: a project after `kedro run`, and the file with the scores to print
beside the samples (by default the project's own).
"""

import json
import sys
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

import fewstep
from fewstep.pictures.sheets import sheet

ROWS = (("cd", "student", 1), ("teacher", "teacher", 9), ("teacher", "teacher", 35))  # model, its title, NFE
SIDE, COLUMNS = 56, 14  # pixels of a digit; digits in a row


def words(metrics: dict, model: str, title: str, nfe: int) -> str:
    """The two lines of a row: who with how many network calls, then the time of an image and its score."""
    milliseconds = 1000 / metrics[model][f"sampling_images_per_second/nfe_{nfe:02d}"]
    fid = metrics[model][f"fid_digits/nfe_{nfe:02d}"]
    return f"{title}, {nfe} call{'s' * (nfe > 1)}\n{milliseconds:.1f} ms, FID {fid:.1f}"


def main(project: str = ".", metrics: str | None = None):
    data = Path(project) / "data"
    scores = json.loads(Path(metrics or data / "08_reporting/digits/cd/metrics.json").read_text())
    rows = []
    for model, title, nfe in ROWS:
        samples = fewstep.load(str(data / "06_models/digits" / model)).sample(COLUMNS, nfe=nfe, seed=0)
        rows.append((words(scores, model, title, nfe), samples))
    facts = PngInfo()
    facts.add_text("Description", "\n".join(text.replace("\n", ": ") for text, _ in rows))
    sheet(rows, columns=COLUMNS, side=SIDE, size=19).save(Path(__file__).with_suffix(".png"), pnginfo=facts)


if __name__ == "__main__":
    main(*sys.argv[1:])
