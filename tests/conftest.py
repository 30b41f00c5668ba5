"""What tests share: real digits in a store, small networks with every parameter drawn at random."""

import pytest
import torch


def pytest_configure(config):
    torch.set_num_threads(2)


@pytest.fixture
def randomised():
    """A function that draws every parameter of a module at random, zero-initialised ones too."""

    def draw(module, seed=0, std=0.02):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
        return module

    return draw


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits' array store."""
    from onestep.data import ingest

    return ingest({"name": "digits"}, tmp_path_factory.mktemp("data") / "digits")
