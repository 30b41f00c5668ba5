"""Networks whose weights are cut into rows, of which each process holds a share: it sees all of them only while they
are used, block by block (ZeRO, stage 3: Rajbhandari et al. 2020; FSDP: Zhao et al. 2023).

Parameters stay plain tensors, only with fewer rows, so that optimisers, averages and copies need not know of it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

# By their names from PyTorch 2.13 on, or before it.
all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # pyright: ignore[reportDeprecated]
reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor  # pyright: ignore[reportDeprecated]


class Shardable(nn.Module):
    """A module whose own weights are put together where it is called. cut: the names of those of which each process
    has its rows alone.
    """

    cut: tuple[str, ...] = ()

    def with_whole_weights(self, function: Callable[..., Any], *given: Any) -> Any:
        """function(*given), a method of this module, which sees its weights whole. Gradients come back to the rows, as
        the mean over the processes. All of them make the same calls in the same order.
        """
        if not self.cut:
            return function(*given)
        whole = _Whole.apply(*(self.get_parameter(name) for name in self.cut))
        named = {f"module.{name}": weight for name, weight in zip(self.cut, whole, strict=True)}
        return functional_call(_Call(self, function), named, given, tie_weights=False)


class _Call(nn.Module):
    """A method of a module, as functional_call takes it."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


class _Whole(torch.autograd.Function):
    """Rows of several parameters on each process -> these parameters, in one exchange."""

    @staticmethod
    def forward(ctx: Any, *rows: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.shapes = [part.shape for part in rows]
        mine = torch.cat([part.flatten() for part in rows])
        everyones = mine.new_empty(dist.get_world_size() * len(mine))
        all_gather(everyones, mine)
        pieces = everyones.view(-1, len(mine)).split([part.numel() for part in rows], dim=1)
        return tuple(piece.reshape(-1, *part.shape[1:]) for piece, part in zip(pieces, rows, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        size = dist.get_world_size()
        everyones = torch.cat([gradient.reshape(size, -1) for gradient in gradients], dim=1)
        mine = everyones.new_empty(everyones.shape[1])
        reduce_scatter(mine, (everyones / size).flatten())
        pieces = mine.split([shape.numel() for shape in ctx.shapes])
        return tuple(piece.view(shape) for piece, shape in zip(pieces, ctx.shapes, strict=True))


def shard(network: nn.Module, kept: Tensor) -> None:
    """Keep only this process's rows of the weights of a network that all processes have alike.

    kept: a parameter that stays whole, as do those whose rows cannot be shared out evenly.
    """
    size, seen = dist.get_world_size(), {id(kept)}
    units = [module for module in network.modules() if isinstance(module, Shardable)]
    for unit in reversed(units):  # the blocks in a network come before it, and have their parameters for themselves
        own = [(name, p) for name, p in unit.named_parameters() if id(p) not in seen]
        seen |= {id(p) for _, p in own}
        unit.cut = tuple(name for name, p in own if p.ndim and len(p) % size == 0)
        for name in unit.cut:
            parameter = unit.get_parameter(name)
            parameter.data = rows_of(parameter.detach())


def cut_names(module: nn.Module) -> set[str]:
    """The names of a module's parameters that are cut."""
    found = ((prefix, part) for prefix, part in module.named_modules() if isinstance(part, Shardable))
    return {f"{prefix}.{name}" if prefix else name for prefix, part in found for name in part.cut}


def rows_of(whole: Tensor) -> Tensor:
    """A copy of the rows of this process."""
    return whole.chunk(dist.get_world_size())[dist.get_rank()].clone()


def whole_tensors(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Tensors of a module's parameters, put together in the first process's memory where they are cut. All processes
    take part, and the others keep their rows.

    tensors: by the parameter's name, or by it and what of it they are ("weight/exp_avg").
    """
    cut = cut_names(module)
    return {key: _put_together(t) if _is_cut(key, t, cut) else t for key, t in tensors.items()}


def own_rows(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The inverse of whole_tensors."""
    cut = cut_names(module)
    return {key: rows_of(t) if _is_cut(key, t, cut) else t for key, t in tensors.items()}


def _put_together(rows: Tensor) -> Tensor:
    whole = rows.new_empty(len(rows) * dist.get_world_size(), *rows.shape[1:])
    all_gather(whole, rows.detach().contiguous())
    return whole.cpu() if dist.get_rank() == 0 else rows


def _is_cut(key: str, tensor: Tensor, cut: set[str]) -> bool:
    return bool(tensor.ndim) and key.split("/")[0] in cut  # the number of an optimiser's steps is one number
