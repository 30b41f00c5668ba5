"""What only a GPU can show; `python -m pytest -m gpu tests/test_gpu.py` there, with torch and pytest alone."""

import copy
from collections.abc import Iterator

import pytest
import torch

from fewstep.diffusion.randomness import SampleRandomness, StepRandomness
from fewstep.evaluation import neighbours
from fewstep.evaluation.neighbours import Neighbourhoods, compare_neighbours
from fewstep.networks import build_network
from fewstep.networks.compiled import compile_passes
from fewstep.networks.dual import jvp
from fewstep.networks.execution import Execution

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


def test_samples_have_the_same_noise_on_every_device():
    here, there = (SampleRandomness(3, range(5), device) for device in ("cpu", CUDA))
    for _ in range(2):
        assert torch.equal(here.normal((2, 4)), there.normal((2, 4)).cpu())


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("tf32", 5e-3), ("bf16", 5e-2)])
@pytest.mark.parametrize("compiled", [False, True])
def test_passes_that_make_samples_are_near_those_of_float64(precision, most, compiled, network):
    primals, _ = pair()
    expected = copy.deepcopy(network).double().eval()(*(each.double() for each in primals))
    Execution(precision, compiled).apply(network.eval())
    with torch.inference_mode():
        found = network(*primals)
    assert (found - expected).norm() < most * expected.norm()
    assert not torch.backends.cudnn.allow_tf32, "what was set before is set again"


def test_scores_by_neighbours_are_those_of_the_cpu(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    found, known = (torch.randn(600, 16, generator=generator) for _ in range(2))
    there = compare_neighbours(found, Neighbourhoods.of(known))
    monkeypatch.setattr(neighbours, "best_device", lambda: "cpu")
    assert compare_neighbours(found, Neighbourhoods.of(known)) == pytest.approx(there, abs=5e-3)
