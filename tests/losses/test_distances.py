import math

import pytest
import torch

from fewstep.losses.distances import build_distance, check_distance

A = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
B = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_l1_and_l2_are_means_over_the_sample():
    torch.testing.assert_close(build_distance("l1")(A, B)[2], (A[2] - B[2]).abs().mean())
    torch.testing.assert_close(build_distance("l2")(A, B)[2], (A[2] - B[2]).square().mean())


def test_pseudo_huber_is_over_the_whole_samples_norm_with_the_published_c():
    c = 0.00054 * math.sqrt(192)
    expected = torch.sqrt(torch.linalg.vector_norm((A - B).flatten(1), dim=1) ** 2 + c**2) - c
    torch.testing.assert_close(build_distance("pseudo_huber")(A, B), expected)
    element_by_element = torch.sqrt((A - B) ** 2 + c**2) - c
    assert not torch.allclose(expected, element_by_element.flatten(1).sum(1), rtol=0.5)


@pytest.mark.parametrize("spec", ["l1", "l2", "pseudo_huber", {"name": "lpips_random", "net": "squeeze"}])
def test_a_distance_is_zero_at_equality_positive_elsewhere_and_has_a_gradient(spec):
    distance = build_distance(spec)
    a = A.clone().requires_grad_()
    torch.testing.assert_close(distance(A, A), torch.zeros(4), atol=1e-6, rtol=0)
    values = distance(a, B)
    assert values.shape == (4,) and (values > 0).all()
    values.sum().backward()
    assert a.grad.abs().sum() > 0


def test_lpips_takes_gray_images_at_the_datas_scale_and_trains_nothing():
    distance = build_distance({"name": "lpips_random", "net": "squeeze"}, scale=0.5)
    gray = A[:, :1]
    color = gray.expand(-1, 3, -1, -1)
    torch.testing.assert_close(distance(gray, -gray), distance(color, -color))
    unscaled = build_distance({"name": "lpips_random", "net": "squeeze"})
    torch.testing.assert_close(distance(gray, -gray), unscaled(2 * gray, -2 * gray))
    assert not any(p.requires_grad for p in distance.parameters()) and not distance.train().network.training


def test_lpips_shows_transparency_on_white_and_keeps_the_shape():
    distance = build_distance({"name": "lpips_random", "net": "squeeze"})
    colours, none = A[:, :1].expand(-1, 3, -1, -1), -torch.ones_like(A[:, :1])
    clear = torch.cat([colours, none], 1)
    assert distance(clear, torch.cat([-colours, none], 1)).abs().max() < 1e-6
    full = torch.cat([colours, -none], 1), torch.cat([-colours, -none], 1)
    torch.testing.assert_close(distance(*full), distance(colours, -colours))
    assert distance._prepare(torch.zeros(1, 3, 48, 64)).shape == (1, 3, 224, 299)
    assert distance._prepare(torch.zeros(1, 1, 300, 256)).shape == (1, 3, 300, 256)


def test_a_pointer_in_place_of_lpips_weights_is_named(tmp_path):
    (tmp_path / "vgg.pth").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"must hold torchvision's weights of vgg, and it is a Git LFS pointer"):
        check_distance({"name": "lpips", "weights": str(tmp_path / "vgg.pth")})


def test_missing_lpips_weights_are_named_with_their_place(tmp_path):
    with pytest.raises(ValueError, match=r"put torchvision's vgg16-397923af.pth there"):
        build_distance({"name": "lpips", "weights": str(tmp_path / "none.pth")})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("l3", "no distance 'l3'.*Allowed: l1, l2"),
        ("pseudo_hubert", "Did you mean 'pseudo_huber'"),
        ({"name": "pseudo_huber", "c": -1}, "c must be above 0, got -1"),
        ({"name": "pseudo_huber", "c": math.nan}, "c must be finite, got nan"),
        ({"name": "pseudo_huber", "c": "abc"}, "c must be a number, got 'abc'"),
        ({"name": "l2", "c": 1}, "distance l2"),
        ({"name": "lpips_random", "net": "vg"}, "Allowed: alex, squeeze, vgg"),
    ],
)
def test_wrong_distances_are_refused_in_words(spec, message):
    with pytest.raises(ValueError, match=message):
        build_distance(spec)
