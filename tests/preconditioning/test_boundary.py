import pytest
import torch

from fewstep.networks import build_network
from fewstep.preconditioning import PRECONDITIONERS, build_preconditioner

SPEC = {"name": "unet", "channels": 16, "num_blocks": 1, "dropout": 0.3, "second_time": True}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_at_the_boundary_a_function_is_the_identity_to_the_bit(name, training, randomised):
    function = build_preconditioner({"name": name}, randomised(build_network(SPEC, (1, 8, 8)), std=0.5)).train(training)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(function(x, torch.full((3,), function.boundary)), x)
    assert not torch.allclose(function(x, torch.full((3,), 0.5)), x, atol=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_a_jump_to_where_it_is_stays_there_to_the_bit(training, randomised):
    function = build_preconditioner({"name": "trajectory"}, randomised(build_network(SPEC, (1, 8, 8)), std=0.5))
    x, sigma = torch.randn(64, 1, 8, 8), torch.logspace(-2.6, 1.9, 64)
    assert torch.equal(function.train(training)(x, sigma, sigma_next=sigma), x)
    assert not torch.allclose(function(x, sigma, sigma_next=0.5 * sigma), x, atol=0.01)
    assert not torch.allclose(function.denoiser(x, sigma), x, atol=0.01)


def test_edm_scales_have_unit_variance_inputs_and_targets():
    """Karras et al. 2022, App. B.6: c_in x and the effective target (x0 - c_skip x) / c_out have variance 1."""
    seen = {}

    class Network(torch.nn.Module):
        def forward(self, x, c_noise, labels):
            seen.update(x=x, c_noise=c_noise)
            return torch.zeros_like(x)

    for sigma in (0.01, 0.5, 30.0):
        levels = torch.full((100_000,), sigma, dtype=torch.float64)
        x0 = 0.5 * torch.randn(100_000, 1, dtype=torch.float64)
        x = x0 + sigma * torch.randn_like(x0)
        skipped = build_preconditioner({"name": "edm"}, Network())(x, levels)
        c_out = sigma * 0.5 / (sigma**2 + 0.25) ** 0.5
        assert seen["x"].var().item() == pytest.approx(1, rel=0.03)
        assert ((x0 - skipped) / c_out).var().item() == pytest.approx(1, rel=0.03)
        assert seen["c_noise"][0].item() == pytest.approx(torch.tensor(sigma).log().item() / 4, rel=1e-6)


def test_consistency_scales_are_those_of_song_2023_appendix_c():
    class One(torch.nn.Module):
        def forward(self, x, c_noise, labels):
            return torch.ones_like(x)

    function = build_preconditioner({"name": "consistency"}, One())
    sigma, eps, sd = torch.tensor([3.0], dtype=torch.float64), 0.002, 0.5
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    c_out = function(zero, sigma).item()
    assert c_out == pytest.approx(sd * (3 - eps) / (sd**2 + 9) ** 0.5, rel=1e-12)
    assert function(one, sigma).item() - c_out == pytest.approx(sd**2 / ((3 - eps) ** 2 + sd**2), rel=1e-9)


@pytest.mark.parametrize(
    "spec", [{"name": "edn"}, {"name": "edm", "boundary": 1}, {"name": "consistency", "boundary": 0.0}]
)
def test_wrong_specs_are_refused(spec):
    with pytest.raises(ValueError, match=r"edm|boundary"):
        build_preconditioner(spec, torch.nn.Identity())
