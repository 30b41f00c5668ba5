"""What a sweep varies, as it is typed."""

import pytest

from fewstep.pipelines.sweep_words import Interval, combinations, corners, params_of, read_axes
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


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("student.training.learning_rate=1e-4:1e-2:log", Interval(1e-4, 1e-2, whole=False, log=True)),
        ("student.training.clip=0:1.5", Interval(0.0, 1.5, whole=False, log=False)),
        ("student.training.batch_size=8:64", Interval(8.0, 64.0, whole=True, log=False)),
        ("student.training.clip=0:1:3", None),
    ],
)
def test_intervals_are_for_samplers(word, found):
    (axis,) = read_axes([word], drawn=True)
    assert axis.interval == found and axis.text == (word.partition("=")[2] if found else "0,0.5,1")
    if found:
        with pytest.raises(InvalidInput, match=r"is an interval.*add --sampler tpe"):
            read_axes([word])


def test_corners_are_every_value_once_beside_the_first_of_the_others():
    axes = read_axes(["recipe=ct", "network.channels=16,32,64", "student.training.clip=0:1"], drawn=True)
    found = [tuple(each.values()) for each in corners(axes)]
    assert found == [("ct", "16", "0"), ("ct", "32", "0"), ("ct", "64", "0"), ("ct", "16", "1")]


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
        (["student.training.clip=1:0"], "must begin below its end, got '1:0'"),
        (["student.training.clip=0:1:log"], "must begin above 0, got '0:1:log'"),
        (["evaluation.count=24:48"], "no parameter to vary 'evaluation'"),
        (["seeds=100", "student.training.clip=0:1:11"], "at most 1,000 trials, got 1,100"),
    ],
)
def test_what_is_no_sweep_is_refused_in_words(words, message):
    with pytest.raises(InvalidInput, match=message):
        read_axes(words)
