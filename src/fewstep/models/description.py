"""What a model's folder says of itself: read, and checked before anything is built by it.

The seal shows that a description was changed, not who wrote it: folders come by mail and by `dvc pull`, too. So names
are names and no paths, and sizes are those of the weights beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fewstep.data.latent_space import read_space
from fewstep.data.space import DataSpace
from fewstep.models.spec import ModelSpec
from fewstep.networks import check_arguments
from fewstep.preconditioning import PRECONDITIONERS
from fewstep.samplers import DENOISER_SAMPLERS
from fewstep.support.errors import InvalidInput, UserError, reason_of
from fewstep.support.file_kinds import SAFETENSORS, check_file_kind
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name
from fewstep.support.tensor_files import seal

DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"
FORMAT = 1
SAMPLERS = (*DENOISER_SAMPLERS, "multistep", "gamma")
Shapes = dict[str, list[int]]


def describe(spec: ModelSpec, space: DataSpace, sha256: str) -> dict[str, Any]:
    """The content of model.json. sha256: of the weights."""
    facts = {"format": FORMAT, **spec.to_json(), "space": space.to_dict(), "sha256": sha256}
    return {**facts, "seal": seal(facts)}


def read_description(folder: Path) -> tuple[DataSpace, ModelSpec, str]:
    """The inverse of describe. Raises ValueError where it was changed, or describes no model that the weights fit."""
    facts, shapes = _read_sealed(folder), shapes_of(folder)
    try:
        if facts["format"] != FORMAT:
            raise InvalidInput(f"its format is {facts['format']!r}, and this version of Fewstep knows {FORMAT}")
        space, spec = read_space(facts["space"], folder), ModelSpec.from_json(facts)
        check_arguments(spec.network)
        check_name("preconditioner", spec.preconditioning.get("name"), PRECONDITIONERS)
        if spec.sampler is not None:
            check_name("sampler of this model", spec.sampler, SAMPLERS)
        check_depth(spec.network, shapes)
        if not isinstance(facts["sha256"], str):
            raise InvalidInput.of("sha256", facts["sha256"], "text")
    except UserError as problem:
        raise InvalidInput(f"{folder}/{DESCRIPTION} cannot be used: {problem}") from problem
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise InvalidInput(f"{folder}/{DESCRIPTION} is no description of a model ({reason_of(problem)}).") from problem
    return space, spec, facts["sha256"]


def shapes_of(folder: Path) -> Shapes:
    """{tensor: its shape} of the weights, whose values are not read. Raises ValueError for a damaged file."""
    try:
        check_file_kind(folder / WEIGHTS, "weights", SAFETENSORS)
        with safe_open(folder / WEIGHTS, "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, InvalidInput) as problem:
        raise InvalidInput(damaged(folder, problem)) from None


def check_depth(network: Mapping[str, Any], shapes: Shapes) -> None:
    """Raise ValueError for a network of more blocks than there are weights, which would take long to build on paper."""
    blocks = network.get("num_blocks", 0) * len(network.get("channel_mult", "1"))
    if blocks > len(shapes):
        raise InvalidInput(f"it asks for {blocks} blocks, and its weights are {len(shapes)} tensors")


def check_shapes(folder: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the weights are those of a function. expected: its state, which may be without values."""
    found, wanted = shapes_of(folder), {name: list(tensor.shape) for name, tensor in expected.items()}
    if unlike := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
        name = unlike[0]
        raise InvalidInput(
            f"{folder}/{WEIGHTS} is not of the network that {DESCRIPTION} describes: {name} must be "
            f"{wanted.get(name, 'left out')}, and is {found.get(name, 'missing')} ({len(unlike)} tensors differ)."
        )


def check_finite(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a weight that is no finite number."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise InvalidInput(f"{folder}/{WEIGHTS} cannot be used: {name} has values that are not finite.")


def damaged(folder: Path, problem: Exception) -> str:
    return f"{folder} is damaged: {problem}. Restore it (dvc checkout) or train it again."


def _read_sealed(folder: Path) -> dict[str, Any]:
    try:
        facts = parse_json((folder / DESCRIPTION).read_text())
    except (OSError, ValueError) as problem:
        raise InvalidInput(damaged(folder, problem)) from None
    sealed = {k: v for k, v in facts.items() if k != "seal"} if isinstance(facts, dict) else {}
    if not sealed or facts.get("seal") != seal(sealed):
        raise InvalidInput(
            f"{folder}/{DESCRIPTION} was changed after it was saved: restore it (dvc checkout) or train again."
        )
    return sealed
