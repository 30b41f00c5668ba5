"""What only a GPU can show; `python -m pytest -m gpu tests/test_gpu.py` there, with torch and pytest alone."""

import copy
from collections.abc import Iterator

import pytest
import torch

from fewstep.diffusion.randomness import StepRandomness
from fewstep.networks import build_network
from fewstep.networks.compiled import compile_passes
from fewstep.networks.dual import jvp

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
SPEC = {
    "name": "unet",
    "channels": 32,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [8],
    "dropout": 0.2,
}
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """No TF32 meanwhile."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def network(randomised):
    return randomised(build_network(SPEC, (3, 16, 16)), std=0.1).to(CUDA)


def pair(dtype: torch.dtype = torch.float32) -> tuple[tuple, tuple]:
    """Primals and tangents."""
    torch.manual_seed(0)
    x, dx = torch.randn(2, 8, 3, 16, 16).to(CUDA, dtype)
    c, dc = torch.randn(2, 8).to(CUDA, dtype)
    return (x, c), (dx, dc)


def gradients(network) -> list[torch.Tensor]:
    """Of a pass with its derivative, and these two."""
    with StepRandomness(0, 0, 8, slice(0, 8), CUDA).dropout():
        output, tangent = jvp(network, *pair())
    return [output, tangent, *torch.autograd.grad(output.square().sum(), list(network.parameters()))]


def test_a_dual_pass_is_right(network):
    network.eval()
    exact = copy.deepcopy(network).double()
    for found, known in zip(jvp(network, *pair()), torch.func.jvp(exact, *pair(torch.float64)), strict=True):
        assert (found - known).norm() < 1e-4 * known.norm()


def test_a_compiled_pass_is_the_plain_one_with_its_dropout_masks(network):
    plain = gradients(copy.deepcopy(network))
    compile_passes(network)
    for found, again, known in zip(gradients(network), gradients(network), plain, strict=True):
        assert (found - known).norm() <= 1e-4 * known.norm() and torch.equal(found, again)


def test_draws_of_a_step_repeat_themselves_and_are_cut_to_rows():
    whole = StepRandomness(3, 5, 8, slice(0, 8), CUDA)
    part = StepRandomness(3, 5, 8, slice(2, 4), CUDA)
    assert torch.equal(whole.normal((2,))[2:4], part.normal((2,))) and torch.equal(whole.uniform()[2:4], part.uniform())
