"""A student that was trained from a level up is called at no lower one."""

import json
from dataclasses import replace

import pytest
import torch

from fewstep.data.space import DataSpace
from fewstep.evaluation.search import CANDIDATES, search_levels
from fewstep.models.model import Model, build_function
from fewstep.models.spec import ModelSpec
from fewstep.objectives import build_objective
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.recipe import Recipe

SPACE = DataSpace("points", "points", (2,), 1.0)
SPEC = ModelSpec("tcm", {"name": "mlp"}, {"name": "edm"}, "multistep", least_level=0.3)


@pytest.fixture(scope="module")
def model():
    return Model(build_function(SPEC, SPACE), SPACE, SPEC)


@pytest.mark.parametrize("nfe", [2, 3, 10])
def test_the_levels_by_default_lie_above_it(model, nfe):
    levels = model.levels(nfe)
    assert len(levels) == nfe and levels[0] == 80 and 0.3 < levels[-1] <= levels[1] <= 3
    plain = replace(model, spec=replace(SPEC, least_level=None))
    assert plain.levels(10)[-1] < 0.3


def test_levels_that_are_given_are_refused_below_it(model):
    torch.testing.assert_close(model.check_levels([80.0, 0.3], 2), torch.tensor([80.0, 0.3], dtype=torch.float64))
    with pytest.raises(ValueError, match="0.3"):
        model.check_levels([80.0, 0.29], 2)


def test_a_search_tries_none_below_it(model):
    class Judge:
        tried: list[float] = []  # noqa: RUF012

        def distance(self, batches, seed):
            return sum(float(batch.mean()) for batch in batches)

    seen = []
    levels = search_levels(model, Judge(), [3], 4, on_progress=lambda done, total, note: seen.append(total))
    assert min(min(found) for found in levels.values()) > 0.3
    above = sum(level > 0.3 for level in CANDIDATES)
    assert seen[0] == 2 * above - 1


def test_the_recipe_of_the_method_says_so_and_the_description_keeps_it():
    method = build_objective({"name": "truncated_consistency", "transition": 0.3})
    earlier = Recipe(
        "ect",
        build_objective({"name": "easy_consistency_tuning"}),
        TrainingSettings(),
        {"name": "mlp"},
        {"name": "edm"},
    )
    recipe = Recipe(
        "tcm", method, TrainingSettings(), {"name": "mlp"}, {"name": "edm"}, earlier=earlier, levels={2: (0.3,)}
    )
    facts = json.loads(json.dumps(recipe.spec("d" * 64).to_json()))
    assert ModelSpec.from_json(facts).least_level == 0.3 and "least_level" not in earlier.spec().to_json()
    with pytest.raises(ValueError, match=r"levels of 2 NFE must be between 0.3 and 80, got \[0.2\]"):
        replace(recipe, levels={2: (0.2,)})
