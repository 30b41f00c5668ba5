"""Nonsense in any parameter is refused by its name, or it trains: nothing hangs, nothing is a bug."""

import copy
import math
import random
import time
from pathlib import Path

import pytest

from fewstep.config.parameters import checked
from fewstep.data import ingest
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.support.errors import Divergence, InvalidInput
from fewstep.training.job import Job
from fewstep.training.loop import Training

CONF = Path(__file__).parents[2] / "conf"
SIZES = [0, -1, 1, 3, 0.5, 1e-300, 1e-9, 1e9, 1e30, 10**30, 2**62, 10**12, math.nan, math.inf, -math.inf]
OTHERS = [True, False, "", "x", "../..", "/dev/zero", "1e5", [], [1], [1e9], [[]], [True], {}, {"name": "x"}, {"a": 1}]


@pytest.fixture(scope="module")
def config():
    """The merged configuration, as files say it. The students that are not chosen are the same sections again."""
    loader = RecipeConfigLoader(str(CONF), env="test", runtime_params={}, **CONFIG_LOADER_ARGS)
    found = copy.deepcopy(loader["parameters"])
    return {**found, "students": {found["recipe"]: found["student"]}}


def places(config, above=()):
    """Every parameter, by the names on the way to it."""
    for name, value in config.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


def with_value(config, place, value):
    changed = copy.deepcopy(config)
    section = changed
    for name in place[:-1]:
        section = section.setdefault(name, {})
    section[place[-1]] = value
    if place[0] == "student":
        changed["students"] = {changed["recipe"]: changed["student"]}
    return changed


def mutated(config, seed):
    """(place, value, the configuration with it): a parameter drawn at random, and a value that hardly can be meant."""
    draw = random.Random(seed)
    place = draw.choice([each for each in places(config) if each[0] not in ("students", "env")])
    value = draw.choice(SIZES + OTHERS)
    return place, value, with_value(config, place, value)


def check(config, seed):
    """The parameters with one value that is nonsense, or None where it was refused: soon, and by name."""
    place, value, changed = mutated(config, seed)
    began = time.monotonic()
    try:
        found = checked(changed)
    except InvalidInput as refusal:
        names = {*place, place[-1].rstrip("s"), "name", "label"}
        assert any(name in str(refusal) for name in names), f"{'.'.join(place)}={value!r}: {refusal}"
        found = None
    assert time.monotonic() - began < 20, f"{'.'.join(place)}={value!r} took {time.monotonic() - began:.0f} s"
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_value_that_is_nonsense_is_refused_by_name_or_taken(config, seed):
    check(config, seed)


@pytest.mark.check
@pytest.mark.parametrize("part", range(20))
def test_what_is_taken_trains_two_steps(config, part, tmp_path):
    images = ingest({"name": "digits"}, tmp_path / "images")
    for seed in range(1000 + 50 * part, 1050 + 50 * part):
        if (found := check(config, seed)) is None:
            continue
        place, value, _ = mutated(config, seed)
        if place[0] not in ("teacher", "network"):
            continue
        training = Training(Job.of(found.teacher, images), tmp_path / str(seed))
        try:
            training.make_step()
            training.make_step()
            training.report()
        except (InvalidInput, Divergence) as refusal:
            print(f"{'.'.join(place)}={value!r}: {refusal}")


BOOLEANS = [
    ("teacher", "training", "images"),
    ("teacher", "seed"),
    ("teacher", "network", "num_blocks"),
    ("launch", "workers"),
]


@pytest.mark.parametrize("place", BOOLEANS, ids=".".join)
def test_true_is_no_number(config, place):
    with pytest.raises(InvalidInput, match=rf"{'.'.join(place)} must be a number, got True"):
        checked(with_value(config, place, True))


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
    "promotion.rules.first": {"kid": math.nan},
    "promotion.rules.nfe": 10**9,
    "promotion.rules.kid_below": -1,
    "launch.threads": 10**9,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_value_beyond_any_use_is_refused_at_once(config, name):
    began = time.monotonic()
    place = tuple(name.split("."))
    with pytest.raises(InvalidInput, match=place[-1]):
        checked(with_value(config, place, TOO_MUCH[name]))
    assert time.monotonic() - began < 5
