"""What a model's scores come to in the registry: flat names, what first judges it, the evidence for the gate."""

from fewstep.support.errors import InvalidInput

SPEED = "images_per_second"  # of a row, and in evidence
SAMPLING_SPEED = f"sampling_{SPEED}"  # among flat scores, beside the training's


def flat_scores(scores: dict, model: str) -> dict[str, float]:
    """The means in a scores.json of one of its models: {"fid_digits/nfe_01": 26.1, "fid_digits/floor": ...}.

    A teacher's Euler rows are "fid_digits/euler_nfe_01", so that nfe_NN is each model by its own sampler, the first.
    """
    rows = [row for row in scores["rows"] if row["model"] == model]
    if not rows:
        known = sorted({row["model"] for row in scores["rows"]})
        raise InvalidInput(f"there are no scores of {model!r} here, only of {', '.join(known)}: evaluate it first.")
    flat = {}
    for row in rows:
        other = "" if row["sampler"] == rows[0]["sampler"] else f"{row['sampler']}_"
        place = f"{other}nfe_{row['nfe']:02d}"
        flat |= _means(row["scores"], place)
        flat[f"{SAMPLING_SPEED}/{place}"] = row[SPEED]
    return flat | _means(scores["floor"]["scores"], "floor")


def _means(scores: dict, place: str) -> dict[str, float]:
    return {f"{name}/{place}": score["mean"] for name, score in scores.items() if score["mean"] is not None}


def most_evaluations(scores: dict, model: str) -> int:
    """The largest NFE at which a model was evaluated by its own sampler."""
    rows = [row for row in scores["rows"] if row["model"] == model]
    return max((row["nfe"] for row in rows if row["sampler"] == rows[0]["sampler"]), default=1)


def judged_by(scores: dict, model: str, nfe: int = 1) -> dict:
    """What a version is first shown by: its distance to the data at nfe, and what that was measured with."""
    extractor = scores["extractor"] or {"name": None, "sha256": None}
    name = f"{'fid_' + extractor['name'] if extractor['name'] else 'wasserstein'}/nfe_{nfe:02d}"
    flat = flat_scores(scores, model)
    if name not in flat:
        raise InvalidInput(f"model {model!r} has no score {name}: evaluate it at {nfe} NFE before it is registered")
    measured = {"data_sha256": scores["data_sha256"], "extractor_sha256": extractor["sha256"], "count": scores["count"]}
    return {"score": name, "value": flat[name], **measured, "provisional": scores["provisional"]}


def evidence_of(scores: dict, model: str, nfe: int) -> dict | None:
    """What the gate looks at, by the model's own sampler at nfe evaluations; None where it was not evaluated there.

    values: {score: one value a seed}. The other keys are how these were measured.
    """
    rows = [row for row in scores["rows"] if row["model"] == model]
    row = next((row for row in rows if row["nfe"] == nfe and row["sampler"] == rows[0]["sampler"]), None)
    if row is None:
        return None
    measured = {key: scores[key] for key in ("data_sha256", "count", "seeds")}
    extractor = scores["extractor"] or {"sha256": None}
    values = {name: score["values"] for name, score in row["scores"].items()}
    return {**measured, "extractor_sha256": extractor["sha256"], "nfe": nfe, "values": values}
