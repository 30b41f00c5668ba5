from dataclasses import replace

import numpy as np
import torch

from fewstep.data.augmentation import Augmentation
from fewstep.data.space import DataSpace
from fewstep.training.batches import Batches, batch_indices
from fewstep.training.hyperparameters import TrainingSettings


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own():
    stream = np.concatenate([batch_indices(10, 0, first, 4) for first in range(0, 20, 4)])
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10].tolist() != stream[10:].tolist()
    assert np.array_equal(batch_indices(10, 0, 8, 4), stream[8:12])


def test_label_dropout_hides_its_share_and_flips_mirror_half():
    space = DataSpace("x", "images", (1, 2, 2), 1.0, ("a", "b"))
    images = np.zeros((50, 1, 2, 2), np.uint8)
    images[..., 0] = 255
    labels = np.arange(50) % 2
    settings = TrainingSettings(batch_size=2000, labels=True, label_dropout=0.25, flips=True)
    batch = Batches(images, labels, space, settings, seed=0)(0, slice(0, 2000), torch.device("cpu"))
    hidden = (batch.labels.sum(1) == 0).float().mean()
    mirrored = (batch.x0[:, 0, 0, 0] < 0).float().mean()
    assert abs(hidden - 0.25) < 0.05 and abs(mirrored - 0.5) < 0.05
    assert set(batch.x0.unique().tolist()) == {-1.0, 1.0}


def test_augmented_images_are_told_and_do_not_depend_on_how_the_batch_is_cut():
    space = DataSpace("x", "images", (1, 8, 8), 0.7, ("a", "b"))
    images = np.random.RandomState(0).randint(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    plain = TrainingSettings(batch_size=16, labels=True, label_dropout=0.5, flips=True)
    augmented = replace(plain, augment=Augmentation(yflip=0.5, scale=0.5))
    before, after = (Batches(images, np.arange(20) % 2, space, settings, 3) for settings in (plain, augmented))
    cpu = torch.device("cpu")
    batch, as_it_is = after(2, slice(0, 16), cpu), before(2, slice(0, 16), cpu)
    assert as_it_is.augment is None and batch.augment.shape == (16, 2)
    left = (batch.augment == 0).all(1)
    assert torch.equal(batch.labels, as_it_is.labels) and torch.equal(batch.x0[left], as_it_is.x0[left])
    assert 0 < left.sum() < 16 and bool((batch.x0 != as_it_is.x0).flatten(1).any(1)[~left].all())
    for rows in (slice(0, 4), slice(4, 16)):
        part = after(2, rows, cpu)
        torch.testing.assert_close(part.x0, batch.x0[rows], rtol=0, atol=1e-5)
        assert torch.equal(part.augment, batch.augment[rows])
    assert not torch.equal(after(3, slice(0, 16), cpu).augment, batch.augment)


def test_batches_that_are_made_ahead_are_those_that_are_made_when_they_are_asked_for():
    space = DataSpace("x", "images", (1, 8, 8), 0.7, ("a", "b"))
    images = np.random.RandomState(0).randint(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    settings = TrainingSettings(batch_size=16, labels=True, flips=True, augment=Augmentation(yflip=0.5))
    plain, ahead = (Batches(images, np.arange(20) % 2, space, settings, 3, way) for way in (False, True))
    cpu, halves = torch.device("cpu"), (slice(0, 8), slice(8, 16))
    asked = [(step, rows) for step in (0, 1, 2, 5, 4) for rows in halves] + [(5, slice(0, 1))]  # jumps, and another cut
    for step, rows in asked:
        one, other = plain(step, rows, cpu), ahead(step, rows, cpu)
        for name in ("x0", "labels", "augment"):
            assert torch.equal(getattr(one, name), getattr(other, name)), (step, rows, name)
