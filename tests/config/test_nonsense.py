"""Nonsense in any parameter is refused by its name, or it trains: nothing hangs, nothing is a bug."""

import sys
import time
from importlib import import_module
from math import nan
from pathlib import Path

import pytest

from fewstep.config.parameters import checked
from fewstep.support.errors import InvalidInput

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bad():
    """The benchmark of bad configurations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield import_module("bad_configurations")


@pytest.fixture(scope="module")
def config(bad):
    return bad.configuration("cd")


@pytest.mark.parametrize("seed", range(40))
def test_a_parameter_that_is_odd_is_refused_by_name_or_taken(bad, config, seed):
    bad.check(bad.odd(config, seed), seconds=5)


def test_a_refusal_that_names_something_else_is_told(bad, config):
    given = bad.misspelt(config, ("launch", "workers"), bad.Random(0))
    assert bad.check(given, seconds=5) is None
    other = bad.Odd("misspelt", ("x",), "", frozenset({"another"}), given.config)
    with pytest.raises(AssertionError, match="There is no parameter"):
        bad.check(other, seconds=5)
    with pytest.raises(AssertionError, match="took"):
        bad.check(given, seconds=0)


@pytest.mark.check
def test_what_is_taken_trains_two_steps(bad, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bad_configurations.py", "--count=1000", "--seed=1000000", "--train=40"])
    bad.main()


BOOLEANS = [
    ("teacher", "training", "images"),
    ("teacher", "seed"),
    ("teacher", "network", "num_blocks"),
    ("launch", "workers"),
]


@pytest.mark.parametrize("place", BOOLEANS, ids=".".join)
def test_true_is_no_number(bad, config, place):
    with pytest.raises(InvalidInput, match=rf"{'.'.join(place)} must be a number, got True"):
        checked(bad.with_value(config, place, True))


TOO_MUCH = {
    "teacher.training.images": 10**30,
    "teacher.training.batch_size": 10**9,
    "teacher.training.learning_rate": 1e9,
    "teacher.training.clip": 1e300,
    "teacher.training.ema_rampup": 2,
    "teacher.training.ema_halflife": 1e300,
    "teacher.noise.rho": 1e9,
    "teacher.objective.level_mean": 1e9,
    "teacher.objective.level_std": 1e9,
    "teacher.network.channels": 10**12,
    "teacher.network.channel_mult": [1e9],
    "teacher.network.num_blocks": 10_000,
    "teacher.network.c_noise_scale": -1e30,
    "teacher.network.skip_scale": 0,
    "teacher.network.norm_eps": 1e9,
    "teacher.network.group_channels": 1e9,
    "student.objective.num_levels": 10**12,
    "evaluation.count": 10**12,
    "evaluation.student_nfe": [1, 10**9],
    "evaluation.full_seeds": list(range(100_000)),
    "data.scale": 1e-300,
    "editing.steps": 10**9,
    "promotion.rules.first": {"kid": nan},
    "promotion.rules.nfe": 10**9,
    "promotion.rules.kid_below": -1,
    "launch.threads": 10**9,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_value_beyond_any_use_is_refused_at_once(bad, config, name):
    began = time.monotonic()
    place = tuple(name.split("."))
    with pytest.raises(InvalidInput, match=place[-1]):
        checked(bad.with_value(config, place, TOO_MUCH[name]))
    assert time.monotonic() - began < 5
