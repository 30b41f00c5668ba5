"""Pure functions from noise to data."""

from onestep.samplers.multistep import sample_multistep
from onestep.samplers.ode import sample_euler, sample_heun, sample_heun_stochastic

__all__ = ["sample_euler", "sample_heun", "sample_heun_stochastic", "sample_multistep"]
