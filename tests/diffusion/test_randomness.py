import pytest
import torch
from torch import nn

from fewstep.diffusion.randomness import SampleRandomness, StepRandomness, derive_seed, seeded_dropout


def draws(rows, step=3):
    rng = StepRandomness(seed=1, step=step, global_batch=8, rows=rows)
    return rng.normal((2,)), rng.uniform(), rng.integers(100)


def test_rows_of_a_batch_do_not_depend_on_how_it_is_shared():
    whole, first, second = draws(slice(0, 8)), draws(slice(0, 4)), draws(slice(4, 8))
    for w, a, b in zip(whole, first, second, strict=True):
        assert torch.equal(w, torch.cat([a, b]))
    assert not torch.equal(whole[0], draws(slice(0, 8), step=4)[0])


def test_samples_are_functions_of_seed_and_index_whatever_the_batch():
    whole, part = SampleRandomness(5, range(4)), SampleRandomness(5, [2, 3])
    for _ in range(2):
        assert torch.equal(whole.normal((3,))[2:], part.normal((3,)))
    mixed = SampleRandomness([6, 5], [0, 2])
    assert torch.equal(mixed.normal((3,))[1], SampleRandomness(5, [2]).normal((3,))[0])
    assert not torch.equal(SampleRandomness(6, [2]).normal((3,)), SampleRandomness(5, [2]).normal((3,)))


def test_seeds_are_the_same_on_every_machine():
    assert derive_seed("step", 0, 1) == 8157581573849908968
    assert derive_seed("step", 1, 0) != derive_seed("step", 0, 1)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


@pytest.mark.parametrize("device", DEVICES)
def test_two_passes_share_a_dropout_mask_and_leave_the_generator_alone(device):
    device = torch.device(device)
    layer, x = nn.Dropout(0.5), torch.ones(1000, device=device)
    torch.manual_seed(0)
    untouched = torch.rand(3, device=device)
    torch.manual_seed(0)
    masks = []
    for seed in (7, 7, 8):
        with seeded_dropout(seed, device):
            masks.append(layer(x))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert torch.equal(torch.rand(3, device=device), untouched)
