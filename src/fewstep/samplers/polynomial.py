"""Samplers of a teacher that remember: a step integrates the polynomial through the last evaluations.

Arguments as in ode.py. NFE = len(levels). The first steps have fewer evaluations to go by, and the last, to 0, is
Euler's. Weights are those of the exact integral, found in float64 whatever the type of x.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.diffusion.functions import Denoiser, Randomness
from fewstep.diffusion.solvers import slope
from fewstep.samplers.level_checks import check_levels, each


def sample_dpm_solver_2(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness | None = None) -> Tensor:
    """DPM-Solver++ (2M), Lu et al. 2022. Order 2.

    Algorithm 2 takes one integral by its leading term, (1 - e^-h) / 2 for 1 - (1 - e^-h) / h: here it is exact.
    """
    return _dpm_solver(denoiser, noise, levels, 2)


def sample_dpm_solver_3(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness | None = None) -> Tensor:
    """DPM-Solver++ (3M): the same with a parabola. Order 3."""
    return _dpm_solver(denoiser, noise, levels, 3)


def sample_deis_3(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness | None = None) -> Tensor:
    """tAB3-DEIS, Zhang and Chen 2023: a cubic through the last four slopes. Order 4.

    In these coordinates the ODE has no linear part, sigma is the paper's t and its rho: DEIS is Adams-Bashforth.
    """
    sigmas = check_levels(levels).double().cpu()

    def step(x: Tensor, place: int, slopes: list[Tensor]) -> Tensor:
        size = sigmas[place + 1] - sigmas[place]
        moments = 1 / torch.arange(1, len(slopes) + 1, dtype=torch.float64)  # of u^k over [0, 1]
        return x + _weighted(size * _weights(sigmas, place, moments), slopes)

    return _solve(denoiser, noise, levels, 4, slope, step)


def _dpm_solver(denoiser: Denoiser, noise: Tensor, levels: Tensor, order: int) -> Tensor:
    """x' = e^-h x + h int_0^1 e^(-h (1 - u)) D(u) du with l = -ln sigma, h = l' - l (Lu et al. 2022, Eq. 9)."""
    logs = -check_levels(levels).double().cpu().log()

    def step(x: Tensor, place: int, estimates: list[Tensor]) -> Tensor:
        h = logs[place + 1] - logs[place]
        moments = [-torch.expm1(-h)]
        for k in range(1, len(estimates)):
            moments.append(1 - k / h * moments[-1])  # h int e^(-h (1 - u)) u^k du, by parts
        return float((-h).exp()) * x + _weighted(_weights(logs, place, torch.stack(moments)), estimates)

    def estimate(denoiser: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(x, sigma)

    return _solve(denoiser, noise, levels, order, estimate, step)


def _solve(
    denoiser: Denoiser,
    noise: Tensor,
    levels: Tensor,
    memory: int,
    evaluate: Callable[[Denoiser, Tensor, Tensor], Tensor],
    step: Callable[[Tensor, int, list[Tensor]], Tensor],
) -> Tensor:
    """step(x, place, the last evaluations, newest first) -> x at the next level."""
    x = noise * float(levels[0])
    known: list[Tensor] = []
    for place in range(len(levels) - 1):
        known = [evaluate(denoiser, x, each(levels[place], x)), *known][:memory]
        x = step(x, place, known)
    return denoiser(x, each(levels[-1], x))


def _weights(points: Tensor, place: int, moments: Tensor) -> Tensor:
    """Weights of values at points[place], points[place - 1] ... that give polynomials in u these moments.

    u is 0 at points[place] and 1 at the next.
    """
    count = len(moments)
    past = points[place + 1 - count : place + 1].flip(0)
    u = (past - points[place]) / (points[place + 1] - points[place])
    return torch.linalg.solve(u ** torch.arange(count, dtype=u.dtype)[:, None], moments)


def _weighted(weights: Tensor, values: list[Tensor]) -> Tensor:
    terms = [float(weight) * value for weight, value in zip(weights, values, strict=True)]
    return sum(terms[1:], terms[0])
