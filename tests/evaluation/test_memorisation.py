import numpy as np
import pytest

from fewstep.evaluation.memorisation import TrainingSet, memorisation_rate


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (120, 3, 8, 8)).astype(np.uint8)


def test_copies_are_found_and_noise_is_not(images):
    noise = np.random.default_rng(1).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    near = np.clip(images[:50].astype(int) + np.random.default_rng(2).integers(-3, 4, images[:50].shape), 0, 255)
    training = TrainingSet(images)
    assert memorisation_rate(images[:50], training) == 1
    assert memorisation_rate(near.astype(np.uint8), training) == 1
    assert memorisation_rate(noise, training) == 0
    assert memorisation_rate(np.concatenate([images[:10], noise[:30]]), training) == 0.25


def test_a_copy_of_an_image_that_the_data_hold_twice_is_a_copy(images):
    assert memorisation_rate(images[:20], TrainingSet(np.concatenate([images, images]))) == 1


def test_real_images_that_are_held_out_are_no_copies(digits):
    assert memorisation_rate(digits.images("heldout"), TrainingSet(digits.images("train"))) < 0.01


@pytest.mark.parametrize("chunk", [5, 17, 4096])
def test_neighbours_are_those_of_a_full_search(images, chunk):
    samples = np.random.default_rng(3).integers(0, 256, (9, 3, 8, 8)).astype(np.uint8)
    full = np.linalg.norm(samples.reshape(9, 1, -1).astype(float) - images.reshape(1, 120, -1), axis=2)
    distances, indices = TrainingSet(images).nearest(samples, k=3, chunk=chunk)
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :3], rtol=1e-12)
    assert (indices == np.argsort(full, axis=1)[:, :3]).all()


def test_indices_are_those_of_the_data_with_repetitions(images):
    _, indices = TrainingSet(np.concatenate([images[:3], images])).nearest(images[5:6], k=1)
    assert indices.tolist() == [[8]]


def test_one_distinct_image_has_no_second_neighbour(images):
    with pytest.raises(ValueError, match="k must be at most 1, the number of distinct training rows, got 2"):
        memorisation_rate(images, TrainingSet(np.concatenate([images[:1]] * 5)))
