"""Optimisers, with their state by the parameters' names."""

import torch
from torch import Tensor, nn

from fewstep.training.hyperparameters import TrainingSettings

CLASSES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam}


def build_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """One fused or foreach pass over all parameters a step."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    fast = {"foreach": True} if settings.optimizer == "radam" else {"fused": True}
    return CLASSES[settings.optimizer](
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, **fast
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
