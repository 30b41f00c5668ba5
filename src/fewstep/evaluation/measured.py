"""What two evaluations have in common where their scores compare."""

from fewstep.support.errors import InvalidInput

MEASURED = {
    "data_sha256": "data hash",
    "extractor": "extractor",
    "extractor_sha256": "extractor",
    "split": "split",
    "count": "sample count",
    "seeds": "set of seeds",
    "nfe": "NFE",
}


def difference(one: dict, other: dict) -> str | None:
    """What differs, in words, between how two scores.json, or two models' evidence, were measured; None if nothing."""
    for key, name in MEASURED.items():
        if (here := one.get(key)) != (there := other.get(key)):
            return f"the {name} differs ({_short(here)} here, {_short(there)} there)"
    return None


def _short(value) -> str:
    if isinstance(value, dict):
        return f"{value['name']} {value['sha256'][:8]}"
    return str(value)[:16]


def check_models(scores: dict, *models) -> None:
    """Raise ValueError if the scores are not of these models."""
    for model in models:
        if scores.get("models", {}).get(model.spec.name) != model.sha256:
            raise InvalidInput(
                f"the scores belong to another {model.spec.name} than the one on disk: kedro run --pipelines=evaluate"
            )
