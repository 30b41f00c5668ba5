"""Averages of weights by power functions of time, and any other one made from those that were kept.

The average at time t weighs the weights of time s by (gamma + 1) s^gamma / t^(gamma + 1). Its length is stated as the
standard deviation of that profile over t. Time is counted in images. Karras et al. 2024 (EDM2), Section 3 and App. C.
"""

from collections.abc import Sequence

import numpy as np

from fewstep.support.checks import inside

NUMERICS = 1  # of these averages, in the trainings that keep any: see fewstep.training.numerics
WIDEST = 12**-0.5  # the deviation of gamma = 0, where all weights count alike
STD = inside(0, round(WIDEST, 4))
Profile = tuple[float, float]  # where it ends, and its deviation


def exponent_of(std: float) -> float:
    """gamma of a relative standard deviation."""
    square = std**-2
    roots = np.roots([1, 7, 16 - square, 12 - square])
    return float(roots.real.max())


def std_of(exponent: float) -> float:
    """The inverse of exponent_of."""
    return (exponent + 1) ** 0.5 / ((exponent + 2) * (exponent + 3) ** 0.5)


def decay_at(std: float, images: int, batch_size: int) -> float:
    """How much the average keeps in the step that ends when `images` have been seen.

    The first step keeps nothing.
    """
    return (1 - batch_size / images) ** (exponent_of(std) + 1)


def correlation(a: Profile, b: Profile) -> float:
    """The inner product of two profiles."""
    (t_a, std_a), (t_b, std_b) = a, b
    first, second = exponent_of(std_a), exponent_of(std_b)
    shorter = min(t_a, t_b)
    overlap = (shorter / t_a) ** first * (shorter / t_b) ** second * shorter / (t_a * t_b)
    return (first + 1) * (second + 1) / (first + second + 1) * overlap


def combination(kept: Sequence[Profile], wanted: Profile) -> tuple[np.ndarray, float]:
    """Coefficients [len(kept)], in sum 1, by which profiles that were kept make the wanted one best.

    And how far from it they stay: the norm of the difference over the norm of the wanted one.
    """
    gram = np.array([[correlation(a, b) for b in kept] for a in kept])
    products, square = np.array([correlation(a, wanted) for a in kept]), correlation(wanted, wanted)
    coefficients = np.linalg.solve(gram, products)
    coefficients /= coefficients.sum()
    left = square - 2 * coefficients @ products + coefficients @ gram @ coefficients
    return coefficients, float(max(left, 0.0) / square) ** 0.5
