"""A training step in the plain style of public code, to compare with: written for benchmarks/gpu.py."""

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fewstep.preconditioning import total_derivative
from fewstep.training.loop import Training


@contextmanager
def by_generic_jvp() -> Generator[None]:
    """Derivatives along trajectories by torch.func.jvp, beside the forward pass with its graph."""
    dual = total_derivative.jvp

    def generic(function, primals, tangents):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            _, tangent = torch.func.jvp(function, primals, tangents)
        return function(*primals), tangent

    total_derivative.jvp = generic
    try:
        yield
    finally:
        total_derivative.jvp = dual


def plain_step(training: Training) -> Callable[[], float]:
    """A step of a training: the same losses, PyTorch's default optimiser, an average parameter by parameter, the loss
    read at each step.
    """
    student = training.networks.student
    average = copy.deepcopy(student).requires_grad_(False)
    parameters = [p for p in training.step_module.trained.parameters() if p.requires_grad]
    optimizer = torch.optim.RAdam(parameters, lr=1e-6)

    def step() -> float:
        loss, _ = training._accumulate_gradients(training.progress_at(training.step))
        for parameter in parameters:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for mean, value in zip(average.parameters(), student.parameters(), strict=True):
                mean.copy_(value.lerp(mean, 0.999))
        training.step += 1
        return float(loss)

    return step
