"""What a sweep varies, as it is typed."""

import pytest

from fewstep.pipelines.sweep_words import combinations, params_of, read_axes
from fewstep.support.errors import InvalidInput


def values(word):
    (axis,) = read_axes([word])
    return list(axis.values)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("student.training.learning_rate=3e-4,1e-3", ["3e-4", "1e-3"]),
        ("network.channel_mult=[1,2],[1,2,2]", ["[1,2]", "[1,2,2]"]),
        ("student.training.clip=0:1:3", ["0", "0.5", "1"]),
        ("student.training.batch_size=16:64:4", ["16", "32", "48", "64"]),
        ("student.training.learning_rate=1e-4:1e-2:3:log,1", ["0.0001", "0.001", "0.01", "1"]),
        ("seeds=3", ["0", "1", "2"]),
        ("evaluation.count=48", ["48"]),
    ],
)
def test_lists_ranges_and_seeds(word, found):
    assert values(word) == found


def test_combinations_are_parameters_with_their_types():
    axes = read_axes(["recipe=cd,ect", "student.training.learning_rate=1e-4:1e-3:2", "launch.workers=0", "seeds=2"])
    made = [params_of(each) for each in combinations(axes)]
    assert len(made) == 8
    assert made[0] == {
        "recipe": "cd",
        "student": {"training": {"learning_rate": 0.0001}, "seed": 0},
        "launch": {"workers": 0},
    }
    assert made[1]["student"] == {"training": {"learning_rate": 0.0001}, "seed": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe"], "name=value.*got 'recipe'"),
        (["student.seed="], "name=value"),
        (["studnt.seed=1,2"], "no parameter to vary 'studnt'. Did you mean 'student'"),
        (["evaluation.count=24,48"], "no parameter to vary 'evaluation'.*Allowed: network, recipe, recipes, seeds"),
        (["student.seed=1,,2"], "empty value"),
        (["student.seed=1,2,"], "empty value"),
        (["student.seed=1,1"], "different values"),
        (["student.seed=1,2", "seeds=2"], "student.seed is given twice"),
        (["seeds=0"], "seeds must be a whole number between 1 and 1,000, got '0'"),
        (["student.training.clip=0:1:1"], "between 2 and 1,000 values, got '0:1:1'"),
        (["student.training.clip=0:1:3:log"], "must be above 0, got '0:1:3:log'"),
        (["seeds=100", "student.training.clip=0:1:11"], "at most 1,000 trials, got 1,100"),
    ],
)
def test_what_is_no_sweep_is_refused_in_words(words, message):
    with pytest.raises(InvalidInput, match=message):
        read_axes(words)
