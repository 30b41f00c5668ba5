"""No sampler reads from the device where it works: on an accelerator the process would wait for it."""

import pytest
import torch

from fewstep.diffusion.levels import karras_levels, per_sample
from fewstep.samplers import DENOISER_SAMPLERS, sample_gamma, sample_multistep


class Draws:
    """Random numbers on a device that has no values, from which nothing can be read."""

    device = torch.device("meta")

    def normal(self, shape):
        return torch.empty(3, *shape, device=self.device)


def shrunk(x, sigma, *sigma_next):
    return x / (1 + per_sample(sigma, x))


SAMPLERS = DENOISER_SAMPLERS | {
    "multistep": sample_multistep,
    "gamma": lambda *given: sample_gamma(*given, gamma=0.5),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_runs_where_nothing_can_be_read(name):
    rng = Draws()
    x = SAMPLERS[name](shrunk, rng.normal((2,)), karras_levels(7)[:6], rng)
    assert x.shape == (3, 2) and x.device == rng.device


def test_what_reads_would_fail_there():
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        float(Draws().normal((2,)).sum())
