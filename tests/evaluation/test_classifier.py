import numpy as np
import pytest
import torch

from fewstep.evaluation.features.classifier import Classifier, rotations, train_classifier


@pytest.fixture(scope="module")
def few(digits):
    return np.array(digits.images("train")[:200]), np.array(digits.labels("train")[:200])


def test_the_seed_decides_the_bits(few):
    first, again, other = (train_classifier(*few, 10, seed, epochs=2).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["whitening.weight"], other["whitening.weight"])


def test_training_leaves_the_generator_alone(few):
    before = torch.random.get_rng_state()
    train_classifier(*few, 10, 0, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_features_are_white_over_the_training_images(digits, extractor):
    features = extractor(digits.images("train")).features
    covariance = features.T.cov()
    assert features.mean(0).abs().max() < 0.01
    assert 0.6 < covariance.diag().mean() <= 1  # below 1 by what SMALL holds back
    assert (covariance - covariance.diag().diag()).abs().max() < 0.2


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 32, 32), (1, 64, 48)])
def test_any_shape(shape):
    features, logits = Classifier(shape, 7).eval()(torch.zeros(2, *shape, dtype=torch.uint8))
    assert features.shape == (2, 64)
    assert logits.shape == (2, 7)


def test_sides_are_bounded():
    with pytest.raises(ValueError, match="sides of 8 to 64 pixels"):
        Classifier((1, 4, 4), 10)


def test_what_is_not_square_is_turned_upside_down():
    images = np.arange(2 * 6, dtype=np.uint8).reshape(2, 1, 2, 3)
    turned, turns = rotations(images)
    assert turned.shape == (4, 1, 2, 3) and turns.tolist() == [0, 1, 0, 1]
    assert (turned[1] == images[0, :, ::-1, ::-1]).all() and (turned[2] == images[1]).all()


def test_rotations_turn_and_say_how_far():
    image = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
    turned, turns = rotations(image)
    assert turns.tolist() == [0, 1, 2, 3]
    assert [np.rot90(picture[0], -k).tolist() for picture, k in zip(turned, turns, strict=True)] == [
        [[0, 1], [2, 3]]
    ] * 4
