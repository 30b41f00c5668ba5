"""Images that are not square, or transparent, on the whole way: ingested, trained on, sampled, shown and scored."""

import math

import numpy as np
import pytest
from PIL import Image

from fewstep.data import ingest
from fewstep.evaluation.features import make_extractor
from fewstep.evaluation.ladder import evaluate_given
from fewstep.models.model import SavedModel
from fewstep.training.loop import train

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
TRAINING = {"images": 32, "batch_size": 16, "checkpoint_every": 32, "progress_every": 16, "pictures_every": 32}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "size", "shown"), [("rgba", [8, 12], "RGBA"), ("rgb", [12, 8], "RGB"), ("grayscale", [10, 14], "RGB")]
)
def test_images_of_other_shapes_go_all_the_way(mode, size, shown, small_job, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(48):
        place = tmp_path / "in" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 4), np.uint8)).save(place / f"{number}.png")
    store = ingest({"name": "folder", "path": str(tmp_path / "in"), "mode": mode, "resolution": size}, tmp_path / "out")
    job = small_job("teacher", store, "denoising", NETWORK, {**TRAINING, "labels": True}, picture_nfe=(3,))
    model = SavedModel.open(train(job, tmp_path / "run")).load()
    (picture,) = (tmp_path / "run" / "pictures").glob("*.png")
    assert Image.open(picture).mode == shown
    samples = model.sample(nfe=3, seed=0, indices=range(12), labels=[model.class_of("b")] * 12)
    assert samples.shape == (12, *store.space.shape)
    scores = evaluate_given(samples, "given", store, make_extractor(store, tmp_path / "extractor"), count=12, seeds=[0])
    assert all(math.isfinite(score.mean) for score in scores.rows[0].scores.values())
