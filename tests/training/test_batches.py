import numpy as np
import torch

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
