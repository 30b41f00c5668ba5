"""The derivative of a network along a trajectory of the probability flow ODE."""

from torch import Tensor, nn

from onestep.diffusion.levels import per_sample
from onestep.networks.dual import jvp


def along_trajectory(function: nn.Module, x: Tensor, sigma: Tensor, denoised: Tensor, labels) -> tuple[Tensor, Tensor]:
    """Output of a function's network at (x, sigma), and its derivative by ln sigma along dx/dsigma = (x - denoised) / sigma.

    function: any wrapper whose network has the input x / sqrt(sigma^2 + sigma_data^2). Only the output has a graph.
    """
    sigma, data = sigma.to(x.dtype), function.sigma_data**2
    variance = per_sample(sigma, x) ** 2 + data
    c_in = 1 / variance.sqrt()
    slope = c_in * (data / variance * x - denoised)  # of c_in x
    c_noise, c_noise_slope = function.c_noise(sigma), function.c_noise.slope(sigma)
    output, derivative = jvp(lambda x, t: function.network(x, t, labels), (c_in * x, c_noise), (slope, c_noise_slope))
    return output.to(x.dtype), derivative.to(x.dtype)
