"""The blocks that networks are made of, whose activations can be computed again instead of being kept."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewstep.networks.dual import Dual, jvp, through
from fewstep.networks.sharding import Shardable

Tangents = tuple[Tensor | None, Tensor | None]


class ConditionedBlock(Shardable):
    """Base of the blocks: features x [B, ...] and the embedding [B, E] -> features.

    recomputes: keep the input alone for the backward pass, which then computes the rest again. Numbers are the same to
    the bit, dropout masks included. A derivative that jvp takes passes the whole block at once, and only the primal is
    computed again.
    """

    recomputes = False

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        if not self.recomputes:
            return self._compute(x, emb)
        if type(x) is Dual or type(emb) is Dual:
            return through(self._recomputed_jvp, (x, emb))
        return self._recomputed(self._compute, x, emb)

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        """What the block computes."""
        raise NotImplementedError

    def _compute(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.with_whole_weights(self.transform, x, emb)

    def _recomputed(self, function: Any, *given: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return function(*given)
        drops = any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in self.modules())
        return checkpoint(function, *given, use_reentrant=False, preserve_rng_state=drops)

    def _recomputed_jvp(self, given: tuple[Tensor, Tensor], tangents: Tangents) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_compiling():  # the compiler sees by itself that the tangents are not needed again
            return self._recomputed(lambda *given: jvp(self._compute, given, tangents), *given)
        # The second time jvp is left before it comes to the tangents, so that any others do, and the first time's are
        # not kept.
        first, moves = [tangents], [t is not None for t in tangents]

        def derived(*given: Tensor) -> tuple[Tensor, Tensor]:
            stand_ins = tuple(g if moved else None for g, moved in zip(given, moves, strict=True))
            return jvp(self._compute, given, first.pop() if first else stand_ins)

        return self._recomputed(derived, *given)


def blocks_of(network: nn.Module) -> list[ConditionedBlock]:
    """The blocks of a network, in the order in which they were made."""
    return [module for module in network.modules() if isinstance(module, ConditionedBlock)]


def recompute_activations(network: nn.Module) -> None:
    """From here on the network and its copies keep no activations of their blocks for the backward pass."""
    for block in blocks_of(network):
        block.recomputes = True
