"""The networks of published transformers (DiT, SiT), for code of one's own."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fewstep.exchange.unpickling import read_state_dict
from fewstep.networks import Network, build_network
from fewstep.networks.released_transformers import from_transformer, is_transformer, transformer_weights
from fewstep.support.errors import InvalidInput, UserError, reason_of
from fewstep.support.file_kinds import SAFETENSORS, kind_of_file


def import_transformer(path: Path | str, num_heads: int | None = None) -> Network:
    """The bare network of a DiT or SiT state dictionary, in safetensors or as torch.save writes it, in eval mode.

    Called as every network: network(x, t, labels), x [B, 4, 32, 32] of the latents it was trained on; t as the authors
    give it, 0 to 999 for DiT and 0 to 1 for SiT; labels one-hot. It returns the noise (DiT) or the velocity (SiT). It
    is no function of (x, sigma): neither noise schedule has a preconditioner here, so it teaches no student.

    num_heads: of a network of no published size. Raises ValueError for files of anything else.
    """
    weights = read_weights(path)
    try:
        published = from_transformer(weights, num_heads)
        with torch.device("meta"):
            expected = build_network(**published).state_dict()
        renamed = {name: weight.float() for name, weight in transformer_weights(weights).items()}
    except UserError as problem:
        raise InvalidInput(f"{path} cannot be read as a transformer: {reason_of(problem)}") from None
    except (LookupError, ValueError, RuntimeError, ArithmeticError) as problem:  # shapes that do not belong together
        raise InvalidInput(f"{path} holds no transformer of DiT or SiT: {problem}") from None
    if odd := sorted(n for n in renamed.keys() | expected.keys() if _shape(renamed, n) != _shape(expected, n)):
        found, wanted = _shape(renamed, odd[0]), _shape(expected, odd[0])
        raise InvalidInput(f"{path} holds another network than DiT or SiT: {odd[0]} is {found}, and would be {wanted}.")
    network = build_network(**published)
    network.load_state_dict(renamed)
    return network.eval().requires_grad_(False)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """A state dictionary in either format. ValueError for other files."""
    if kind_of_file(Path(path)) != SAFETENSORS:
        return read_state_dict(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InvalidInput(f"{path} is damaged: {problem}") from None


def refuse_transformer(weights: Mapping[str, Tensor], path: Path | str) -> None:
    """Raise ValueError where weights are those of a published transformer, which is no function of (x, sigma)."""
    if is_transformer(weights):
        raise InvalidInput(
            f"{path} holds a transformer (DiT or SiT), which cannot be a teacher or a student here: DiT estimates the "
            "noise of a schedule with linear betas, SiT the velocity of a flow, and there is no preconditioner for "
            "either. fewstep.exchange.import_transformer gives the bare network with its weights."
        )


def _shape(weights: Mapping[str, Tensor], name: str) -> list[int] | str:
    return list(weights[name].shape) if name in weights else "missing"
