"""What decides between a challenger and the champion, and the flat names of scores."""

import math

SPEED = "sampling_images_per_second"
ALIKE = {"score": "score", "data_sha256": "data hash", "extractor_sha256": "extractor", "count": "sample count"}


def flat_scores(scores: dict, model: str) -> dict[str, float]:
    """The means in a scores.json of one of its models: {"fid_digits/nfe_01": 26.1, "fid_digits/floor": ...}.

    A teacher's Euler rows are "fid_digits/euler_nfe_01", so that nfe_NN is each model by its own sampler, the first.
    """
    rows = [row for row in scores["rows"] if row["model"] == model]
    if not rows:
        known = sorted({row["model"] for row in scores["rows"]})
        raise ValueError(f"these scores have none of {model!r}: they are of {', '.join(known)}; evaluate it first")
    flat = {}
    for row in rows:
        other = "" if row["sampler"] == rows[0]["sampler"] else f"{row['sampler']}_"
        place = f"{other}nfe_{row['nfe']:02d}"
        flat |= _means(row["scores"], place)
        flat[f"{SPEED}/{place}"] = row["images_per_second"]
    return flat | _means(scores["floor"]["scores"], "floor")


def _means(scores: dict, place: str) -> dict[str, float]:
    return {f"{name}/{place}": score["mean"] for name, score in scores.items() if score["mean"] is not None}


def judged_by(scores: dict, model: str) -> dict:
    """What the gate looks at: the distance to the data at 1 NFE (lower is better), and what it was measured with."""
    extractor = scores["extractor"] or {"name": None, "sha256": None}
    name = f"{'fid_' + extractor['name'] if extractor['name'] else 'wasserstein'}/nfe_01"
    flat = flat_scores(scores, model)
    if name not in flat:
        raise ValueError(f"model {model!r} has no score {name}: evaluate it at 1 NFE before it is registered")
    measured = {"data_sha256": scores["data_sha256"], "extractor_sha256": extractor["sha256"], "count": scores["count"]}
    return {"score": name, "value": flat[name], **measured, "provisional": scores["provisional"]}


def decide(challenger: dict, champion: dict | None) -> tuple[bool, str]:
    """Whether the challenger becomes champion, and why, in words. Both as `judged_by` gives them; None: no champion."""
    score, value = challenger["score"], challenger["value"]
    if not math.isfinite(value):
        return False, f"its {score} is {value}"
    if champion is None:
        return True, f"there was no champion; its {score} is {value:.4g}"
    for key, name in ALIKE.items():
        if challenger[key] != champion.get(key):
            here, there = (str(side.get(key))[:16] for side in (challenger, champion))
            return False, f"not compared with the champion: the {name} differs ({here} here, {there} there)"
    if value < champion["value"]:
        return True, f"its {score} of {value:.4g} beats the champion's {champion['value']:.4g}"
    return False, f"its {score} of {value:.4g} does not beat the champion's {champion['value']:.4g}"
