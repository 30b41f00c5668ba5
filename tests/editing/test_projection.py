"""What is known stays, what is not is the student's."""

import pytest
import torch

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.editing.interpolation import spherical, strip
from fewstep.editing.multistep_edit import Edit
from fewstep.editing.projection import LUMA, MASKS, grey, known_grey, known_means, known_pixels, named_mask, reflection
from fewstep.samplers import sample_multistep

LEVELS = torch.tensor([80.0, 5.0, 0.8], dtype=torch.float64)
ISOTROPIC = Gaussian(mean=0.0, std=0.5)
KNOWN = {
    "inpaint": lambda y: known_pixels(y, named_mask("center", y.shape[2:])),
    "colorize": known_grey,
    "superresolve": lambda y: known_means(y, 4),
}


def images(count=3, seed=0, dtype=torch.float64):
    return torch.randn(count, 3, 8, 12, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=KNOWN)
def known(request):
    return KNOWN[request.param]


@pytest.mark.parametrize("count", [2, 3, 16, 64])
def test_the_matrices_are_orthogonal_and_their_first_column_is_what_is_known(count):
    first = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first /= first.norm()
    turn = reflection(first)
    torch.testing.assert_close(turn @ turn.T, torch.eye(count, dtype=torch.float64))
    torch.testing.assert_close(turn[:, 0], first)
    torch.testing.assert_close(turn @ turn, torch.eye(count, dtype=torch.float64))


def test_transforms_are_orthogonal_and_undone(known):
    projection, x = known(images()), images(seed=1)
    torch.testing.assert_close(projection.inverse(projection.transform(x)), x)
    assert projection.transform(x).norm().item() == pytest.approx(x.norm().item())


def test_projections_are_idempotent_and_keep_what_is_known(known):
    projection, x = known(images()), images(seed=1)
    once = projection(x)
    torch.testing.assert_close(projection(once), once)
    torch.testing.assert_close(projection(images()), images())
    assert projection.error(once) < 1e-12 < projection.error(x)
    assert not torch.allclose(once, images())


def test_known_pixels_stay_to_the_bit_whatever_the_estimate():
    y, missing = images(dtype=torch.float32), named_mask("left", (8, 12))
    estimate = torch.full_like(y, torch.nan)
    found = known_pixels(y, missing)(estimate)
    assert torch.equal(found[..., ~missing], y[..., ~missing])
    assert found[..., missing].isnan().all()


def test_grey_is_kept_to_1e_5_in_float32():
    y, luma = images(dtype=torch.float32), torch.tensor(LUMA)[:, None, None]
    edited = edit(known_grey(y), ISOTROPIC, torch.float32)
    torch.testing.assert_close((edited * luma).sum(1), (y * luma).sum(1), atol=1e-5, rtol=0)


def test_a_grey_image_is_as_bright_and_colours_do_not_matter_for_what_is_known():
    y = images()
    assert (grey(y).diff(dim=1) == 0).all()
    torch.testing.assert_close(known_grey(grey(y)).start(), known_grey(y).start())


def test_means_of_patches_are_kept_to_1e_5_in_float32():
    y = images(dtype=torch.float32)
    edited = edit(known_means(y, 4), ISOTROPIC, torch.float32)
    means = [torch.nn.functional.avg_pool2d(x, 4) for x in (edited, y)]
    torch.testing.assert_close(*means, atol=1e-5, rtol=0)


def edit(projection, data, dtype=torch.float64):
    rng = SampleRandomness(0, range(3))
    noise = rng.normal((3, 8, 12)).to(dtype)
    return Edit(projection.start(), projection)(data.consistency(0.002), noise, LEVELS, rng)


def test_a_start_knows_nothing_of_what_is_not_known(known):
    y = images()
    projection = known(y)
    other = known(projection(images(seed=1)))
    torch.testing.assert_close(projection.start(), other.start())
    assert projection.error(projection.start()) < 1e-12


def test_what_is_not_known_is_sampled(known):
    """Where it is independent of what is known, it is what the sampler alone makes of the same noise."""
    projection = known(images())
    edited = edit(projection, ISOTROPIC)
    rng = SampleRandomness(0, range(3))
    noise = rng.normal((3, 8, 12)).double()
    alone = sample_multistep(ISOTROPIC.consistency(0.002), noise, LEVELS, rng)
    unknown = projection.unknown
    torch.testing.assert_close(projection.transform(edited)[unknown], projection.transform(alone)[unknown])


@pytest.mark.parametrize("name", MASKS)
def test_named_masks_leave_and_take(name):
    for size in ((8, 8), (32, 32), (5, 7)):
        missing = named_mask(name, size)
        assert missing.shape == size and missing.dtype == torch.bool
        assert 0.15 < missing.double().mean() < 0.85


def test_the_nearest_mask_is_named():
    with pytest.raises(ValueError, match="no mask 'centre'. Did you mean 'center'"):
        named_mask("centre", (8, 8))


@pytest.mark.parametrize("factor", [0, 1, 3, 8])
def test_a_factor_divides_both_sides(factor):
    with pytest.raises(ValueError, match=r"factor must be a divisor of both \d+ and \d+ \(2, 4\)"):
        known_means(images(), factor)


def test_interpolation_keeps_ends_norm_and_angle():
    a, b = images(seed=2), images(seed=3)
    frames = strip(a, b, 5).unflatten(0, (3, 5))
    torch.testing.assert_close(frames[:, 0], a)
    torch.testing.assert_close(frames[:, -1], b)
    a, b = (x / x.flatten(1).norm(dim=1)[:, None, None, None] for x in (a, b))
    frames = strip(a, b, 5).unflatten(0, (3, 5)).flatten(2)
    torch.testing.assert_close(frames.norm(dim=2), torch.ones(3, 5, dtype=torch.float64))
    steps = (frames[:, 1:] * frames[:, :-1]).sum(2).acos()
    torch.testing.assert_close(steps, steps[:, :1].expand(3, 4))


def test_between_a_noise_and_itself_is_itself():
    a = images()
    torch.testing.assert_close(spherical(a, a, torch.full((3,), 0.3)), a)
