"""What a report shows of models and their scores."""

from collections.abc import Sequence

import numpy as np

from fewstep.evaluation.interval import CONFIDENCE
from fewstep.evaluation.ladder import Rung
from fewstep.evaluation.memorisation import TrainingSet
from fewstep.pictures.drawing import COLUMNS, draw
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.published_results import published_results
from fewstep.reporting.report import Figure, Part, Table
from fewstep.reporting.table import caption, cell, first_score, speed
from fewstep.reporting.trajectories import trajectories

SHOWN = 16
PHONE = 4.0  # inches of a plot


def lead_of(scores: dict, student) -> str:
    """What the student does, in a sentence."""
    score, name = first_score(scores), student.spec.name
    row = row_of(scores, student, 1)
    real = cell(scores["floor"]["scores"][score])
    return (
        f"The student {name} makes a sample in one network evaluation, {row['images_per_second']:,.0f} a second: its "
        f"{score} is {cell(row['scores'][score])}, where data that were held out have {real}."
    )


def row_of(scores: dict, model, nfe: int) -> dict:
    """The first row of a model at so many evaluations."""
    return next(row for row in scores["rows"] if (row["model"], row["nfe"]) == (model.spec.name, nfe))


def samples_part(rungs: Sequence[Rung], store, seed: int) -> Part:
    """Samples from the same noise of every model, sampler and NFE, beside training data."""
    count = SHOWN if store.space.kind == "images" else 1000
    found = [(f"{r.model}, {r.sampler}, {r.nfe} NFE", r.generate(seed, np.arange(count))) for r in rungs]
    found.insert(0, ("training data", np.array(store.images("train")[:count])))
    words = f"The first {count} of seed {seed}: the same noise for every model, sampler and NFE."
    return Part("Samples", words, [Figure(title, draw(samples)) for title, samples in found])


def ladder_part(scores: dict) -> Part:
    """Quality against cost: student and teacher, every sampler."""
    names = [first_score(scores), *(name for name in scores["rows"][0]["scores"] if name.startswith("recall"))]
    plots = [(name, ladder_plot(scores, name), ladder_plot(scores, name, width=PHONE)) for name in names]
    words = "Each line is one way to sample; bars are intervals over seeds, and the dashed line is held-out data."
    return Part("Quality against cost", words, [Figure(*plot) for plot in plots], wide=True)


def trajectory_part(teacher, student, seed: int) -> Part:
    """One noise through the levels."""
    levels, rows = trajectories(teacher, student, seed)
    words = (
        "One noise on the teacher's way to an image. First row: the noisy image; second: the clean image that the "
        "teacher takes it for; third: the student's, which ought to be the same all along."
    )
    shown = f"levels {', '.join(f'{level:.2g}' for level in levels)}"
    picture = draw(np.concatenate([rows["noisy"], rows["teacher"], rows["student"]]), len(levels))
    return Part("One noise through the levels", words, [Figure(shown, picture)])


def neighbours_part(samples: np.ndarray, store, rate: float, k: int = 3) -> Part:
    """Samples above their nearest training images, and the memorisation rate."""
    training = store.images("train")
    _, indices = TrainingSet(training).nearest(samples[:COLUMNS], k)
    near = [np.stack([training[i] for i in column]) for column in indices.T]
    words = (
        f"Below each sample of the student at 1 NFE the {k} training images that are nearest in pixels. {rate:.1%} of "
        "its samples lie three times as near to one training image as to any other, which copies do."
    )
    picture = draw(np.concatenate([samples[:COLUMNS], *near]))
    return Part("Nearest training images", words, [Figure("first row: samples; below: training images", picture)])


def scores_part(scores: dict) -> Part:
    """All scores, beside what is published for the data set."""
    names = list(dict.fromkeys(name for row in [*scores["rows"], scores["floor"]] for name in row["scores"]))
    rows = [
        [f"{r['model']}, {r['sampler']}, {r['nfe']} NFE", *(cell(r["scores"].get(n)) for n in names), speed(r)]
        for r in scores["rows"]
    ]
    real = scores["floor"]
    rows.append([f"held-out data ({real['count']})", *(cell(real["scores"].get(name)) for name in names), ""])
    tables = [Table(rows, ["", *names, "images/s"], ". ".join(caption(scores)))]
    published = published_results(scores["dataset"])
    if published:
        head, words = ["method", "NFE", "FID", "IS", "source"], "Published: FID by Inception, 50,000 samples."
        found = [[p["method"], str(p["nfe"]), str(p["fid"]), str(p["is"] or ""), p["source"]] for p in published]
        tables.append(Table(found, head, words))
    extractor = scores["extractor"]["name"] if scores["extractor"] else None
    comparable = "compares at the same count" if extractor == "inception" else "does not compare with the above"
    words = f"What papers report for {scores['dataset']} {comparable}." if published else ""
    return Part("Scores", words, tables=tables)


def used_part(scores: dict, models: Sequence, more: dict[str, str]) -> Part:
    """What all this was made with."""
    extractor = scores["extractor"] or {"name": "none", "sha256": ""}
    facts = {
        "data": f"{scores['dataset']}, {scores['data_sha256']}",
        "reference": f"the {scores['split']} split",
        "features": f"{extractor['name']}, {extractor['sha256']}",
        "samples": f"{scores['count']} of each seed ({', '.join(map(str, scores['seeds']))})",
        "intervals": f"{CONFIDENCE:.0%}, Student's t over seeds" if len(scores["seeds"]) > 1 else "none of one seed",
    }
    for model in models:
        made = model.spec.provenance
        known = {key: getattr(made, key) for key in ("images", "seconds", "parameters")}
        trained = [f"{value:,.0f} {key}" for key, value in known.items() if value]
        facts[model.spec.name] = "; ".join([f"weights {model.sha256}", *trained])
    levels = {f"{r['model']}, {r['nfe']} NFE": r["levels"] for r in scores["rows"] if r["model"] == models[0].spec.name}
    facts |= {f"levels of {name}": ", ".join(f"{level:.4g}" for level in found) for name, found in levels.items()}
    return Part("What was used", tables=[Table(list({**facts, **more}.items()))])
