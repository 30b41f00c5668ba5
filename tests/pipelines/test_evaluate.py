"""The scores of a project: of one seed for every day, of three with --params=evaluation.full=true."""

from pathlib import Path

import pytest

from fewstep.data import ingest
from fewstep.models.model import Model, build_function
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.evaluate.nodes import score_models
from fewstep.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
FEW = {"count": 20, "student_nfe": [1], "teacher_nfe": {"euler": [1]}}


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return ingest({"name": "moons", "count": 200}, tmp_path_factory.mktemp("data") / "moons")


def untrained(name: str, kind: str, store) -> Model:
    network = {"name": "mlp", "channels": 8, "num_blocks": 1}
    spec = {"name": name, "network": network, "preconditioning": {"name": kind}, "labels": False, "levels": {}}
    return Model(build_function(spec, store.space).eval(), store.space, spec)


@pytest.mark.parametrize(("given", "seeds", "provisional"), [({}, [0], True), ({"full": True}, [0, 1, 2], False)])
def test_a_full_evaluation_has_three_seeds_and_is_not_provisional(given, seeds, provisional, points, tmp_path, capsys):
    loader = RecipeConfigLoader(str(CONF), env="moons", runtime_params={"evaluation": given}, **CONFIG_LOADER_ARGS)
    models = untrained("teacher", "edm", points), untrained("cd", "consistency", points)
    scores, metrics, *_ = score_models(points, None, *models, loader["parameters"]["evaluation"] | FEW, tmp_path)
    assert (list(scores.measurement.seeds), scores.measurement.provisional) == (seeds, provisional)
    assert all(len(score.values) == len(seeds) for row in scores.rows for score in row.scores.values())
    assert ("provisional" in capsys.readouterr().out) == provisional and metrics["cd"]
