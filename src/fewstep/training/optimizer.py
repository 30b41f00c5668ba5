"""Optimisers of one fused pass over all weights, with their state by the parameters' names."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.training.hyperparameters import TrainingSettings

LARGE = 1e12  # beside which the root of a second moment is nothing


class RAdam(torch.optim.Adam):
    """Rectified Adam: Liu et al. 2020, Algorithm 2. PyTorch's own RAdam has no fused pass, and Adam has.

    A step of RAdam is Adam's with another learning rate and epsilon, which depend on the number of the step alone.
    """

    def __init__(self, parameters: list[nn.Parameter], **settings: Any):
        super().__init__(parameters, **settings)
        self._made: int | None = None  # steps; None: not known yet, after state was loaded

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._made = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        (group,) = self.param_groups
        if all(p.grad is None for p in group["params"]):
            return  # the module was idle
        if self._made is None:
            self._made = int(max((float(state["step"]) for state in self.state.values() if state), default=0))
        self._made += 1
        rate, epsilon = group["lr"], group["eps"]
        group["lr"], group["eps"] = rectified(rate, epsilon, self._made, group["betas"][1])
        super().step()
        group["lr"], group["eps"] = rate, epsilon


def rectified(rate: float, epsilon: float, step: int, beta: float) -> tuple[float, float]:
    """The learning rate and the epsilon with which Adam makes the step of RAdam. step: from 1; beta: beta_2."""
    left = beta**step
    longest = 2 / (1 - beta) - 1  # rho_inf
    length = longest - 2 * step * left / (1 - left)  # rho_t
    if length <= 5:
        # The variance is not tractable yet: m / (1 - beta_1^t) alone, as lr E m / (sqrt(v) + E) for a large E.
        return rate * LARGE, LARGE
    ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    # torch adds epsilon to sqrt(v), and Adam to sqrt(v / (1 - beta_2^t)).
    return rate * math.sqrt(ratio), epsilon / math.sqrt(1 - left)


CLASSES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": RAdam}


def build_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser of all trained parameters."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return CLASSES[settings.optimizer](
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )


def optimizer_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """{parameter/slot: tensor}: moments and step counts."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    return {f"{name}/{slot}": value for name, p in trained for slot, value in optimizer.state[p].items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]):
    """The inverse of optimizer_state."""
    index = {name: i for i, name in enumerate(n for n, p in module.named_parameters() if p.requires_grad)}
    state: dict[int, dict[str, Tensor]] = {i: {} for i in index.values()}
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        state[index[name]][slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
