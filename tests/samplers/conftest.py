import pytest
import torch

from fewstep.diffusion.gaussian import Gaussian
from fewstep.evaluation.counting import count_evaluations


@pytest.fixture(scope="session")
def data():
    return Gaussian(mean=0.1, std=0.5)


@pytest.fixture(scope="session")
def noise():
    return torch.randn(512, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def counted():
    """A function as a module, and what counts its evaluations as the ladder does."""

    class Function(torch.nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x, *sigmas):
            assert all(sigma.shape == (len(x),) for sigma in sigmas)
            return self.function(x, *sigmas)

    def wrap(function):
        module = Function(function)
        return module, count_evaluations(module)

    return wrap


@pytest.fixture(scope="session")
def law():
    """The exact mean and variance of what a sampler, linear in its noise, makes of pure noise.

    A row for each draw in which that draw alone is 1, and a row in which none is.
    """

    class Impulses:
        def __init__(self, draws):
            self.draws, self.place = draws, 0

        def normal(self, shape):
            x = torch.zeros(self.draws + 1, *shape, dtype=torch.float64)
            x[self.place] = 1
            self.place += 1
            return x

    def find(sample, draws):
        rng = Impulses(draws)
        x = sample(rng.normal((1,)), rng)[:, 0]
        assert rng.place <= draws
        return x[-1].item(), (x[:-1] - x[-1]).square().sum().item()

    return find
