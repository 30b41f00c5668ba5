"""Derivatives by ln sigma: where x moves with sigma, by the probability flow ODE, and where sigma moves alone."""

from collections.abc import Callable

from torch import Tensor

from fewstep.networks.dual import jvp


def total_derivative(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, denoised: Tensor
) -> tuple[Tensor, Tensor]:
    """function(x, sigma), and its derivative by ln sigma along dx/dsigma = (x - denoised) / sigma, without a graph."""
    sigma = sigma.to(x.dtype)
    return jvp(function, (x, sigma), (x - denoised, sigma))


def level_derivative(function: Callable[[Tensor], Tensor], sigma: Tensor) -> tuple[Tensor, Tensor]:
    """function(sigma), and its derivative by ln sigma, without a graph."""
    return jvp(function, (sigma,), (sigma,))
