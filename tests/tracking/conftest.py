"""An MLflow database for each test, copied from one that is made once: its schema takes seconds."""

import json
import shutil

import pytest

from onestep.data.space import DataSpace
from onestep.tracking import Store
from onestep.training.model import Model, build_function


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    store = Store.at(tmp_path_factory.mktemp("mlflow"), "sqlite:///mlflow.db")
    store.client()
    return store.database


@pytest.fixture
def store(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Store.at(tmp_path, "sqlite:///mlflow.db")


@pytest.fixture
def write_progress(tmp_path):
    """Append lines to the run folder's progress file, at some images seen, and return the folder."""
    folder = tmp_path / "runs" / "cd"

    def write(*images):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "progress.jsonl").open("a") as file:
            for seen in images:
                numbers = {"loss": 1 / seen, "learning_rate": 0.1, "grad_norm": 1.0, "images_per_second": 9.0}
                entry = {"step": seen // 10, "images": seen, "total_images": 1000, **numbers, "seconds": seen / 9}
                file.write(json.dumps(entry) + "\n")
        return folder

    return write


@pytest.fixture
def finished_model(tmp_path, randomised):
    """A small student, or a teacher, with weights of a seed: a function of (seed, labels, teacher) -> its folder."""

    def build(seed=0, labels=False, teacher=False):
        space = DataSpace("digits", "images", (1, 8, 8), 0.5, tuple("0123456789"))
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
        name, function = ("teacher", "edm") if teacher else ("cd", "consistency")
        spec = {"name": name, "network": network, "preconditioning": {"name": function}, "labels": labels}
        spec |= {"levels": {}, "data_sha256": "d" * 64, "provenance": {"teacher_sha256": None if teacher else "7" * 64}}
        function = randomised(build_function(spec, space), seed)
        return Model(function, space, spec).save(tmp_path / f"{name}_{seed}").folder

    return build


@pytest.fixture
def scores():
    """A scores.json of a student and its teacher, with a distance at 1 NFE: a function of (value, changes)."""

    def make(value, speed=900.0, **changes):
        def row(model, sampler, nfe, mean):
            means = {"fid_digits": {"mean": mean, "values": [mean]}, "memorisation": {"mean": 0.0, "values": [0.0]}}
            return {"model": model, "sampler": sampler, "nfe": nfe, "scores": means, "images_per_second": speed}

        rows = [row("cd", "multistep", 1, value), row("cd", "multistep", 2, value - 1)]
        rows += [row("teacher", "heun", 9, 119.0), row("teacher", "euler", 1, 300.0)]
        floor = {"count": 100, "scores": {"fid_digits": {"mean": 19.0, "values": [19.0]}}}
        facts = {"dataset": "digits", "data_sha256": "d" * 64, "extractor": {"name": "digits", "sha256": "e" * 64}}
        return {**facts, "count": 100, "seeds": [0], "provisional": True, "floor": floor, "rows": rows, **changes}

    return make
