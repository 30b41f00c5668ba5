"""What workers do together that hold a share of the weights each: norms, gradients, and the same passes."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fewstep.networks.sharding import cut_names
from fewstep.objectives import Objective
from fewstep.support.errors import InvalidInput


def gradient_norm(module: nn.Module, sharded: bool) -> Tensor:
    """The norm of a module's whole gradient. sharded: each worker has its rows of some weights alone."""
    cut = cut_names(module) if sharded else set[str]()
    gradients = [(name in cut, p.grad) for name, p in module.named_parameters() if p.grad is not None]
    whole = nn.utils.get_total_norm([gradient for is_cut, gradient in gradients if not is_cut], foreach=True)
    if not cut:
        return whole
    square = nn.utils.get_total_norm([gradient for is_cut, gradient in gradients if is_cut], foreach=True).square()
    dist.all_reduce(square)
    return (whole.to(square).square() + square).sqrt()


def average_whole_gradients(module: nn.Module) -> None:
    """The mean over the workers of the gradients of weights that are not cut, in one exchange."""
    cut = cut_names(module)
    gradients = [p.grad for name, p in module.named_parameters() if name not in cut and p.grad is not None]
    if not gradients:
        return
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def check_same_passes(objective: Objective, samples: int) -> None:
    """Raise ValueError if some worker may have no samples for a pass that the others make, and wait for it for ever.

    samples: of a worker at once.
    """
    least = min(objective.shares)
    if samples < (needed := math.ceil(1 / least)):
        raise InvalidInput(
            f"with launch.shard full each worker must take at least {needed} samples at once, got {samples}: "
            f"{objective.name} has a loss of its own for {least:g} of the samples. Set a larger training.batch_size or "
            "micro_batch_size, fewer launch.workers, or launch.shard none."
        )
