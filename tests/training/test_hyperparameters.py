import json
from pathlib import Path

import pytest

from fewstep.training.hyperparameters import TrainingSettings


def test_the_learning_rate_warms_up_and_decays_to_zero():
    settings = TrainingSettings(images=1000, batch_size=10, learning_rate=1.0, learning_rate_warmup=100)
    assert settings.learning_rate_at(0, 1000) == pytest.approx(0.1)
    assert settings.learning_rate_at(490, 1000) == pytest.approx(0.51)
    assert settings.learning_rate_at(990, 1000) == pytest.approx(0.01)
    assert TrainingSettings(learning_rate_decay="constant", learning_rate=0.2).learning_rate_at(5000, 9000) == 0.2


def test_the_rate_of_edm2_is_the_authors():
    """Theirs is that of the images seen before the step, so that the first step has none; here the step counts too."""
    file = Path(__file__).parents[1] / "reference" / "networks" / "edm2_learning_rate.json"
    for row in json.loads(file.read_text())["rows"]:
        batch = row["batch_size"]
        settings = TrainingSettings(
            batch_size=batch,
            learning_rate=row["ref_lr"],
            learning_rate_warmup=10**6 * row["rampup_Mimg"],
            learning_rate_decay="inverse_sqrt",
            learning_rate_reference=int(row["ref_batches"] * batch),
        )
        for images, expected in zip(row["cur_nimg"], row["lr"], strict=True):
            warming = images < settings.learning_rate_warmup
            ours = settings.learning_rate_at(images - batch if warming else images, 10**12)
            assert ours == pytest.approx(expected, rel=1e-12)


def test_the_learning_rate_follows_half_a_cosine():
    settings = TrainingSettings(learning_rate=2.0, learning_rate_decay="cosine")
    found = [settings.learning_rate_at(images, 1000) for images in (0, 250, 500, 1000)]
    assert found == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 0.0])


def test_the_average_forgets_half_in_its_halflife_and_ramps_up():
    settings = TrainingSettings(batch_size=100, ema_halflife=1000.0, ema_rampup=0.05)
    assert settings.ema_decay_at(10**6) ** 10 == pytest.approx(0.5)
    assert settings.ema_decay_at(2000) == pytest.approx(0.5)  # half-life is 5 % of 2000 images: one batch
    assert TrainingSettings(ema_halflife=0.0).ema_decay_at(10**6) == 0


def test_micro_batches_share_the_global_batch_or_say_why_not():
    assert TrainingSettings(batch_size=12, micro_batch_size=2).micro_batches(workers=3) == 2
    with pytest.raises(ValueError, match="multiple of workers x micro_batch_size"):
        TrainingSettings(batch_size=12).micro_batches(workers=5)
    assert TrainingSettings(batch_size=12, micro_batch_size=4).micro_batches(workers=3, whole=True) == 1
    with pytest.raises(ValueError, match=r"^micro_batch_size must be 0 \(a worker's whole share, 12\), got 4"):
        TrainingSettings(batch_size=12, micro_batch_size=4).micro_batches(workers=1, whole=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "adan"}, "Did you mean 'adam'"),
        ({"images": 0}, "images must be above 0, got 0"),
        ({"label_dropout": 1.0}, "label_dropout must be at least 0 and below 1, got 1.0"),
        ({"clip": -1.0}, "clip must be at least 0, got -1.0"),
        ({"learning_rate_decay": "cosin"}, "Did you mean 'cosine'"),
        (
            {"learning_rate_decay": "inverse_sqrt"},
            "learning_rate_reference must be above 0 with learning_rate_decay inverse_sqrt, got 0",
        ),
        ({"learning_rate_reference": 9}, "learning_rate_reference must be 0 without inverse_sqrt, got 9"),
        ({"precision": "fp16"}, "bf16, fp32"),
    ],
)
def test_wrong_numbers_are_refused_in_words(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**wrong)
