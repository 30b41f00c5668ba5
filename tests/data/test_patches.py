import numpy as np
import pytest

from fewstep.data import ingest


def test_patches_are_cut_from_the_photographs_that_their_labels_name(tmp_path):
    from sklearn.datasets import load_sample_images

    store = ingest({"name": "patches", "count": 40, "side": 8}, tmp_path / "store")
    assert store.space.shape == (3, 8, 8)
    assert store.space.classes == ("temple", "flower")
    photographs = [image.transpose(2, 0, 1) for image in load_sample_images().images]
    image, label = np.array(store.images("train")[0]), store.labels("train")[0]
    windows = np.lib.stride_tricks.sliding_window_view(photographs[label][0], (8, 8))
    assert (windows == image[0]).all((2, 3)).any()


def test_patches_larger_than_the_photographs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="side must be between 2 and 256, got 400"):
        ingest({"name": "patches", "side": 400}, tmp_path / "store")
