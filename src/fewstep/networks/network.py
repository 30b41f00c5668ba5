"""What every network is: a module that says how it was built, so that others can refuse or start from it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from fewstep.networks.embeddings import Conditions
from fewstep.networks.sharding import Shardable


class Network(Shardable):
    """Base of the networks of build_network, which says how one is called.

    shape: of a sample, [C, H, W] or [D]. c_noise: the noise condition that the weights were made for.
    Settings: the arguments of a spec, checked, of which __init__ takes one. settings: the whole spec, see settings_of.
    """

    Settings: ClassVar[type[Any]]

    shape: tuple[int, ...]
    c_noise: str
    embed: Conditions
    settings: Mapping[str, Any]

    def __init__(self, shape: Sequence[int], num_classes: int, settings: Any):
        super().__init__()

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None = None,
        second: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """The arguments of build_network's networks -> [B, *shape]."""
        return self.with_whole_weights(self._compute, x, c_noise, labels, second, augment)

    def _compute(self, x: Tensor, c_noise: Tensor, *told: Tensor | None) -> Tensor:
        return self.transform(x, self.embed(c_noise, *told))

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        """x [B, *shape], with the embedding of all that the network is told beside it, [B, E] -> [B, *shape]."""
        raise NotImplementedError

    def call_by(self, call: Callable[..., Any] | None) -> None:
        """Have `call` take the calls of this network from here on, and not those of its copies.

        call: of the arguments of forward; None for forward itself.
        """
        self._compiled_call_impl = call  # where nn.Module.compile has its own: copies and saved modules leave it out

    @property
    def is_compiled(self) -> bool:
        """Whether call_by was given another call: fewstep.networks.compiled."""
        return self._compiled_call_impl is not None

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last layer, at whose gradients losses are balanced."""
        raise NotImplementedError
