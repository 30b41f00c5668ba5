import sys
from types import ModuleType

import pytest

from fewstep.objectives import Objective, build_objective, objective_class, objective_names


def test_every_method_is_found_by_the_name_of_its_file():
    assert {"consistency_distillation", "denoising"} <= set(objective_names())
    assert build_objective({"name": "consistency_distillation", "num_levels": 40}).num_levels == 40


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "consistency_destillation"}, "Did you mean 'consistency_distillation'"),
        ({"name": "denoising", "level_meen": 1}, "Did you mean 'level_mean'"),
        ({"name": "consistency_distillation", "solver": "hein"}, "Did you mean 'heun'"),
        ({"name": "consistency_distillation", "num_levels": 1}, "at least 2"),
        ({"name": "consistency_distillation", "target_ema": 1.0}, "_ema must be at least 0 and below 1"),
        (
            {"name": "consistency_training", "start_levels": 1},
            r"start_levels must be between 2 and end_levels \(150\), got 1",
        ),
        ({"name": "consistency_training", "start_ema": -0.1}, "_ema must be at least 0 and below 1"),
        (
            {"name": "improved_consistency_training", "end_levels": 5},
            r"start_levels must be between 1 and end_levels \(5\), got 10",
        ),
        ({"name": "improved_consistency_training", "level_std": 0.0}, r"level_std must be above 0, got 0\.0"),
        ({"name": "easy_consistency_tuning", "q": 1.0}, r"q must be above 1, got 1\.0"),
        ({"name": "easy_consistency_tuning", "weight": "gab"}, "Did you mean 'gap'"),
        ({"name": "easy_consistency_tuning", "k": -1.0}, r"k must be at least 0, got -1\.0"),
        ({"name": "continuous_consistency", "warmup": -0.1}, r"warmup must be between 0 and 1, got -0\.1"),
        ({"name": "continuous_consistency", "warmup": 300}, "warmup must be between 0 and 1, got 300"),
        ({"name": "continuous_consistency", "level_std": 0.0}, r"level_std must be above 0, got 0\.0"),
        ({"name": "continuous_consistency", "tangent_constant": 0.0}, r"tangent_constant must be above 0, got 0\.0"),
        ({"name": "continuous_consistency", "warmup_steps": 1}, "Did you mean 'warmup'"),
        ({"name": "flow_anchored_consistency", "guidance": 0.0}, r"guidance must be above 0, got 0\.0"),
        (
            {"name": "flow_anchored_consistency", "guidance": 2.0, "from_data": True},
            r"guidance must be 1 if from_data is true, since it is the teacher's, got 2\.0",
        ),
        ({"name": "flow_anchored_consistency", "error_power": 2.0}, r"error_power must be between 0 and 1, got 2\.0"),
        ({"name": "progressive_distillation", "start_steps": 12}, "start_steps must be a power of two, got 12"),
        (
            {"name": "progressive_distillation", "start_steps": 2, "end_steps": 4},
            r"end_steps must be at most start_steps \(2\), got 4",
        ),
    ],
)
def test_wrong_specs_are_refused_in_words(spec, message):
    with pytest.raises(ValueError, match=message):
        build_objective(spec)


@pytest.mark.parametrize("classes", [[], ["First", "Second"]])
def test_a_file_defines_one_method(classes, monkeypatch):
    made = {name: type(name, (Objective,), {"__module__": "fewstep.objectives.denoising"}) for name in classes}
    module = ModuleType("fewstep.objectives.denoising")
    vars(module).update(made)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(TypeError, match=f"one subclass of Objective, found {', '.join(classes) or 'none'}"):
        objective_class("denoising")


def test_what_is_defined_before_the_method_is_not_taken_for_it(monkeypatch):
    module = ModuleType("fewstep.objectives.denoising")
    module.Helper = type("Helper", (), {"__module__": module.__name__})
    module.Method = type("Method", (Objective,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert objective_class("denoising") is module.Method
