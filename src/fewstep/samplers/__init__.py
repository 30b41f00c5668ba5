"""Pure functions from noise to data."""

from fewstep.samplers.gamma import sample_gamma
from fewstep.samplers.multistep import noises_along, sample_multistep
from fewstep.samplers.ode import carry_up, sample_euler, sample_heun
from fewstep.samplers.polynomial import sample_deis_3, sample_dpm_solver_2, sample_dpm_solver_3
from fewstep.samplers.stochastic import sample_ancestral, sample_churn
from fewstep.support.errors import InvalidInput

NUMERICS = 1  # see fewstep.training.numerics

# Of a denoiser, by the names that parameters have: (denoiser, noise, levels, rng) -> data.
DENOISER_SAMPLERS = {
    "heun": sample_heun,
    "euler": sample_euler,
    "dpm_solver_2": sample_dpm_solver_2,
    "dpm_solver_3": sample_dpm_solver_3,
    "deis_3": sample_deis_3,
    "churn": sample_churn,
    "ancestral": sample_ancestral,
}
TWICE = ("heun", "churn")  # call it twice a step, once in the last


def count_levels(sampler: str, nfe: int) -> int:
    """How many levels a sampler takes to spend nfe evaluations. Raises ValueError if it cannot spend as many."""
    twice = sampler in TWICE
    if nfe < 1 or (twice and nfe % 2 == 0):
        raise InvalidInput(f"NFE must be {'odd and ' * twice}at least 1 with {sampler}, got {nfe}.")
    return (nfe + 1) // 2 if twice else nfe


__all__ = [
    "DENOISER_SAMPLERS",
    "carry_up",
    "count_levels",
    "noises_along",
    "sample_ancestral",
    "sample_churn",
    "sample_deis_3",
    "sample_dpm_solver_2",
    "sample_dpm_solver_3",
    "sample_euler",
    "sample_gamma",
    "sample_heun",
    "sample_multistep",
]
