import pytest

from fewstep.data.space import DataSpace
from fewstep.tracking import Backend


@pytest.fixture
def make(tmp_path, draw_model):
    """A small model of a name, with weights of a seed, saved: a function of (name, seed, labels)."""

    def build(name, seed=0, labels=False):
        space = DataSpace("digits", "images", (1, 8, 8), 0.5, tuple("0123456789"))
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1}
        facts = {"name": name, "network": network, "labels": labels, "data_sha256": "d" * 64}
        facts |= {"preconditioning": {"name": "edm" if name == "teacher" else "consistency"}}
        return draw_model(facts, space, seed).save(tmp_path / f"{name}{seed}")

    return build


@pytest.fixture
def backend(tmp_path):
    """A registry that is empty."""
    return Backend.at(tmp_path, "sqlite:///mlflow.db")
