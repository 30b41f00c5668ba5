"""Scores that are kept: a teacher is scored once, not again for each of its students."""

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fewstep import data, diffusion, evaluation, networks, preconditioning, samplers
from fewstep.data.store import ArrayStore
from fewstep.diffusion import randomness
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import Judge, evaluate, measurement_of
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import SamplingSetting
from fewstep.networks.execution import PLAIN
from fewstep.support.errors import InvalidInput
from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json

# The parts whose numerics versions samples, and scores of them, depend on.
SAMPLING = (data, networks, preconditioning, diffusion, randomness, samplers)
SCORING = (*SAMPLING, evaluation)


def kept_scores(
    settings: Sequence[SamplingSetting],
    model_sha256: str,
    store: ArrayStore,
    extractor: Extractor | None,
    *,
    count: int,
    seeds: Sequence[int],
    batch_size: int,
    judge: Judge,
    file: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """The scores of one model, as `evaluate` has them.

    file: keeps them. They are used again only while everything that they depend on is the same: the weights, how they
    are measured, the code's numerics versions, and for the speed the machine.
    """
    of: dict[str, Any] = {"model_sha256": model_sha256, "lpips": judge.lpips is not None, "batch_size": batch_size}
    of |= {
        "measurement": measurement_of(store, extractor, count, seeds, judge.references).to_json(),
        "machine": _machine(),
    }
    of |= {"settings": [[each.sampler, each.nfe, list(map(float, each.levels))] for each in settings]}
    if special := {str(each.execution) for each in settings if each.execution != PLAIN}:
        of |= {"execution": sorted(special)}
    of |= {"numerics": {part.__name__: part.NUMERICS for part in SCORING}}
    if known := _read(file, json.loads(json.dumps(of))):
        return known
    sizes: dict[str, Any] = {"count": count, "seeds": seeds, "batch_size": batch_size}
    found = evaluate(settings, store, extractor, **sizes, judge=judge, on_progress=on_progress)
    write_json(file, {"of": of, "scores": found.to_json()})
    return found


def _read(file: Path, of: dict[str, Any]) -> Evaluation | None:
    """What a file keeps; None where there is nothing, or scores of something else."""
    try:
        facts = parse_json(file.read_text())
        return Evaluation.from_json(facts["scores"]) if facts["of"] == of else None
    except (OSError, ValueError, LookupError, TypeError, InvalidInput):
        return None


def _machine() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"name": platform.node(), "threads": torch.get_num_threads(), "gpu": gpu}
