"""Draws labels.png and gammas.png of a ctm student: python docs/pictures/labels.py [model] [images]"""

import sys
from pathlib import Path

import torch

from fewstep.data import ArrayStore
from fewstep.evaluation.features import open_extractor
from fewstep.evaluation.ladder import evaluate
from fewstep.evaluation.sampling import sampling_settings
from fewstep.models.model import Model
from fewstep.pictures.sheets import sheet
from fewstep.reporting.plots import ladder_plot

FOLDER = Path(__file__).parent
NFE, GAMMAS, SEEDS = (1, 2, 4), (0.0, 0.5, 1.0), (0, 1, 2)


def main(model="data/06_models/labels/ctm", images="data/02_intermediate/labels/images"):
    student, store = Model.load(model), ArrayStore.open(images)
    labels, noises = (x.flatten() for x in torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij"))
    samples = student.sample(nfe=2, seed=0, indices=noises.tolist(), labels=labels)
    rows = [(str(label), samples[labels == label]) for label in range(10)]
    sheet(rows, columns=10).save(FOLDER / "labels.png")
    settings = [setting for gamma in GAMMAS for setting in sampling_settings(student, "gamma", NFE, gamma)]
    scores = evaluate(settings, store, open_extractor("digits"), count=400, seeds=SEEDS)
    ladder_plot(scores).quantize(64).save(FOLDER / "gammas.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
