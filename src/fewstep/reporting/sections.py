"""The parts of a report on models and their scores."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fewstep.data.store import ArrayStore
from fewstep.editing import Trial
from fewstep.evaluation.interval import CONFIDENCE
from fewstep.evaluation.memorisation import NEAREST, TrainingSet
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import SamplingSetting
from fewstep.models.model import Model
from fewstep.pictures.drawing import COLUMNS, draw
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.published_results import published_results
from fewstep.reporting.report import Figure, Part, Table
from fewstep.reporting.table import caption, cell, score_names, speed
from fewstep.reporting.trajectories import trajectories

SHOWN = 16
PHONE = 4.0  # inches of a plot
BETWEEN = {"interpolate": "from one seed to another", "interpolate images": "from one image to another"}


def lead_of(evaluation: Evaluation, student: Model) -> str:
    """The student's speed and score in a sentence."""
    score, name = evaluation.primary, student.spec.name
    row = evaluation.row_of(name, 1)
    assert row is not None and row.images_per_second is not None  # student_nfe always has 1
    real = evaluation.floor.scores.get(score)
    floor = f"where data that were held out have {cell(real)}" if real else "and too few data were held out to compare"
    return (
        f"The student {name} makes a sample in one network evaluation, {row.images_per_second:,.0f} a second: its "
        f"{score} is {cell(row.scores[score])}, {floor}."
    )


def samples_part(settings: Sequence[SamplingSetting], store: ArrayStore, seed: int) -> Part:
    """Samples of every model, sampler and NFE from the same noise, and training data."""
    count = SHOWN if store.space.kind == "images" else 1000
    found = [(f"{r.model}, {r.sampler}, {r.nfe} NFE", r.generate(seed, np.arange(count))) for r in settings]
    found.insert(0, ("training data", np.array(store.images("train")[:count])))
    words = f"The first {count} of seed {seed}: the same noise for every model, sampler and NFE."
    return Part("Samples", words, [Figure(title, draw(samples)) for title, samples in found])


def ladder_part(evaluation: Evaluation) -> Part:
    """Quality against cost of student and teacher with every sampler."""
    names = [evaluation.primary, *(name for name in score_names(evaluation) if name.startswith("recall"))]
    plots = [(name, ladder_plot(evaluation, name), ladder_plot(evaluation, name, width=PHONE)) for name in names]
    words = "Each line is one way to sample; bars are intervals over seeds, and the dashed line is held-out data."
    return Part("Quality against cost", words, [Figure(*plot) for plot in plots], wide=True)


def trajectory_part(teacher: Model, student: Model, seed: int) -> Part:
    """One noise at every level."""
    levels, rows = trajectories(teacher, student, seed)
    words = (
        "One noise on the teacher's way to an image. First row: the noisy image; second: the clean image that the "
        "teacher takes it for; third: the student's, which ought to be the same all along."
    )
    shown = f"levels {', '.join(f'{level:.2g}' for level in levels)}"
    picture = draw(np.concatenate([rows["noisy"], rows["teacher"], rows["student"]]), len(levels))
    return Part("One noise through the levels", words, [Figure(shown, picture)])


def neighbours_part(samples: np.ndarray, store: ArrayStore, rate: float, k: int = NEAREST) -> Part:
    """Samples with their nearest training images below, and the memorisation rate."""
    training = store.images("train")
    _, indices = TrainingSet(training).nearest(samples[:COLUMNS], k)
    near = [np.stack([training[i] for i in column]) for column in indices.T]
    words = (
        f"Below each sample of the student at 1 NFE the {k} training images that are nearest in pixels. {rate:.1%} of "
        "its samples lie three times as near to one training image as to any other, which copies do."
    )
    picture = draw(np.concatenate([samples[:COLUMNS], *near]))
    return Part("Nearest training images", words, [Figure("first row: samples; below: training images", picture)])


def edited_parts(trials: Sequence[Trial], nfe: int) -> list[Part]:
    """Interpolations, and all other tasks before and after. nfe: evaluations per edited image."""
    strips = [trial for trial in trials if trial.name in BETWEEN]
    tasks = [trial for trial in trials if trial.name not in BETWEEN]
    between = [Figure(BETWEEN[trial.name], draw(trial.edited, len(trial.edited))) for trial in strips]
    edited = [Figure(_said(trial), _before_and_after(trial)) for trial in tasks]
    words = f"{nfe} network evaluations per image."
    found = Part("Interpolation", words, between), Part("Editing without training", words, edited)
    return [part for part in found if part.figures]


def _before_and_after(trial: Trial) -> Image.Image:
    assert trial.given is not None  # every task but an interpolation is given images
    return draw(np.concatenate([trial.given, trial.edited]), len(trial.edited))


def _said(trial: Trial) -> str:
    found = trial.measures
    measured = f" (PSNR {found['psnr_given']:.1f} and {found['psnr']:.1f} dB)" if "psnr" in found else ""
    return f"{trial.name}: before, after{measured}"


def scores_part(evaluation: Evaluation) -> Part:
    """All scores, and published scores for the data set."""
    names, floor, measurement = score_names(evaluation), evaluation.floor, evaluation.measurement
    rows = [
        [f"{r.model}, {r.way}, {r.nfe} NFE", *(cell(r.scores.get(n)) for n in names), speed(r)] for r in evaluation.rows
    ]
    rows.append([f"held-out data ({floor.count})", *(cell(floor.scores.get(name)) for name in names), ""])
    if decoded := evaluation.autoencoder:
        words = f"held-out data ({decoded.count}), encoded and decoded"
        rows.append([words, *(cell(decoded.scores.get(name)) for name in names), ""])
    tables = [Table(rows, ["", *names, "images/s"], ". ".join(caption(measurement, floor)))]
    published = published_results(measurement.dataset)
    if published:
        head, words = ["method", "NFE", "FID", "IS", "source"], "Published: FID by Inception, 50,000 samples."
        found = [[p["method"], str(p["nfe"]), str(p["fid"]), str(p["is"] or ""), p["source"]] for p in published]
        tables.append(Table(found, head, words))
    same = measurement.extractor and measurement.extractor.name == "inception"
    comparable = "compares at the same count" if same else "does not compare with the above"
    words = f"What papers report for {measurement.dataset} {comparable}." if published else ""
    return Part("Scores", words, tables=tables)


def used_part(evaluation: Evaluation, models: Sequence[Model], more: dict[str, str]) -> Part:
    """Data, features, seeds, models and versions that the report is based on."""
    how, used = evaluation.measurement, evaluation.measurement.extractor
    facts = {
        "data": f"{how.dataset}, {how.data_sha256}",
        "reference": f"the {how.split} split",
        "features": f"{used.name}, {used.sha256}" if used else "none",
        "samples": f"{how.count} of each seed ({', '.join(map(str, how.seeds))})",
        "intervals": f"{CONFIDENCE:.0%}, Student's t over seeds" if len(how.seeds) > 1 else "none of one seed",
    }
    for model in models:
        made = model.spec.provenance
        known = {key: getattr(made, key) for key in ("images", "seconds", "parameters")}
        trained = [f"{value:,.0f} {key}" for key, value in known.items() if value]
        facts[model.spec.name] = "; ".join([f"weights {model.sha256}", *trained])
    levels = {f"{r.model}, {r.nfe} NFE": r.levels for r in evaluation.rows_of(models[0].spec.name)}
    facts |= {f"levels of {name}": ", ".join(f"{level:.4g}" for level in found) for name, found in levels.items()}
    return Part("What was used", tables=[Table(list({**facts, **more}.items()))])
