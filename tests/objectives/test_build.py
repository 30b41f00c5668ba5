import pytest

from onestep.objectives import build_objective, objective_names


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
        ({"name": "consistency_distillation", "target_ema": 1.0}, r"in \[0, 1\)"),
    ],
)
def test_wrong_specs_are_refused_in_words(spec, message):
    with pytest.raises(ValueError, match=message):
        build_objective(spec)
