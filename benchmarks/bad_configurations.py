"""Configurations in which something is odd: each is refused, soon and by the name of what is odd, or it trains.

    python benchmarks/bad_configurations.py [--count 10000] [--seed 0] [--train 100] [--seconds 5]

One parameter of a valid configuration, of several recipes in turn, gets a value that hardly can be meant, or one near
its own; or its name is misspelt, or it is left out. Printed: how many of each kind were refused and taken. Of those
that are taken, `--train` make two steps of the training that they change. The status is 1 where a refusal names
something else, where a bug is raised, or where one takes longer than `--seconds` of the processor.
"""

import argparse
import copy
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bounds import Bounds

from fewstep.config.parameters import Parameters, checked
from fewstep.data import ArrayStore, ingest
from fewstep.models.model import SavedModel
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.support.errors import Divergence, InvalidInput
from fewstep.training.job import Job
from fewstep.training.loop import Training

CONF = Path(__file__).parents[1] / "conf"
RECIPES = ("cd", "ect", "ctm_gan", "meanflow", "imm", "cmt")
SIZES = [0, -1, 1, 3, 0.5, 1e-300, 1e-9, 1e9, 1e30, 10**30, 2**62, 10**12, math.nan, math.inf, -math.inf]
OTHERS = [True, False, "", "x", "../..", "/dev/zero", "1e5", [], [1], [1e9], [[]], [True], {}, {"name": "x"}, {"a": 1}]
SAID_OTHERWISE = ("name", "label")  # of a choice by name, and of classes
SIZES_OF_IMAGES = {"side", "resolution"}  # which a network names by "images of 28x28"
TRAININGS = {"teacher": "teacher", "network": "teacher", "student": "student"}
Config = dict[str, Any]


@dataclass(frozen=True)
class Odd:
    """A configuration, what is odd in it, and the words of which a refusal has one."""

    kind: str
    place: tuple[str, ...]
    change: str
    words: frozenset[str]
    config: Config

    def __str__(self) -> str:
        return f"{self.config['recipe']}, {'.'.join(self.place)} {self.change}"


def configuration(recipe: str, env: str = "test") -> Config:
    """The merged configuration, as files say it. The students that are not chosen are the same sections again."""
    loader = RecipeConfigLoader(str(CONF), env=env, runtime_params={"recipe": recipe}, **CONFIG_LOADER_ARGS)
    found = copy.deepcopy(loader["parameters"])
    return {**found, "students": {found["recipe"]: found["student"]}}


def places(config: Config, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every parameter, by the names on the way to it."""
    for name, value in config.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


def changed(config: Config, place: tuple[str, ...], change: Callable[[Config, str], object]) -> Config:
    """A copy in which the section of a place was changed: change(section, name)."""
    copied = copy.deepcopy(config)
    section = copied
    for name in place[:-1]:
        section = section.setdefault(name, {})
    change(section, place[-1])
    if "student" in copied and "recipe" in copied:
        copied["students"] = {str(config["recipe"]): copied["student"]}
    return copied


def with_value(config: Config, place: tuple[str, ...], value: object) -> Config:
    return changed(config, place, lambda section, name: section.update({name: value}))


def value_at(config: Config, place: tuple[str, ...]) -> Any:
    for name in place:
        config = config[name]
    return config


def nonsense(config: Config, place: tuple[str, ...], draw: Random) -> Odd:
    value = draw.choice(SIZES + OTHERS)
    return Odd("nonsense", place, f"= {value!r}", frozenset(place), with_value(config, place, value))


def near(config: Config, place: tuple[str, ...], draw: Random) -> Odd:
    """A number twice or half as large, one more or less; a word with another letter; a list with an item more."""
    value = value_at(config, place)
    if isinstance(value, bool):
        other: Any = not value
    elif isinstance(value, int | float):
        other = draw.choice([value * 2, value / 2, value + 1, value - 1, -value, float(value)])
    elif isinstance(value, str):
        other = draw.choice([value + "x", value[:-1], value.upper(), value.split()])
    elif isinstance(value, list) and value:
        other = draw.choice([value[:-1], value + value[-1:], value[::-1], value[0]])
    else:
        other = None
    return Odd("near", place, f"= {other!r}", frozenset(place), with_value(config, place, other))


def misspelt(config: Config, place: tuple[str, ...], draw: Random) -> Odd:
    name = place[-1]
    at = draw.randrange(len(name))
    other = draw.choice([name + name[-1], name[:at] + name[at + 1 :] or "x", name.replace("_", "-") + "s", "x" + name])

    def rename(section: Config, name: str) -> None:
        section[other] = section.pop(name)

    return Odd("misspelt", place, f"called {other}", frozenset({*place, other}), changed(config, place, rename))


def left_out(config: Config, place: tuple[str, ...], draw: Random) -> Odd:
    return Odd("left out", place, "left out", frozenset(place), changed(config, place, lambda s, name: s.pop(name)))


KINDS = (nonsense, nonsense, near, misspelt, left_out)


def odd(config: Config, seed: int) -> Odd:
    """A configuration with one parameter changed, which the seed draws with its change."""
    draw = Random(seed)
    place = draw.choice([each for each in places(config) if each[0] not in ("students", "env")])
    return draw.choice(KINDS)(config, place, draw)


def check(given: Odd, seconds: float) -> Parameters | None:
    """The parameters, or None where they were refused. Raises AssertionError unless that is soon and by name."""
    began = time.process_time()
    try:
        found = checked(given.config)
    except InvalidInput as refusal:
        words = {*given.words, *(word.rstrip("s") for word in given.words), *SAID_OTHERWISE}
        words |= {"images of"} if SIZES_OF_IMAGES & set(given.place) else set()
        assert any(word in str(refusal) for word in words), f"{given}: {refusal}"
        found = None
    took = time.process_time() - began
    assert took < seconds, f"{given} took {took:.0f} s"
    return found


def two_steps(given: Odd, found: Parameters, images: ArrayStore, teacher: SavedModel, folder: Path) -> str:
    """Two steps of the training that a change is of; what it was refused for, if it was."""
    whose = TRAININGS[given.place[0]]
    recipe = found.teacher if whose == "teacher" else found.student
    try:
        training = Training(Job.of(recipe, images, teacher if recipe.needs_teacher else None), folder)
        training.make_step()
        training.make_step()
        training.report()
    except (InvalidInput, Divergence) as refusal:
        return f"{given}: {refusal}"
    return ""


class Trainings:
    """What is taken is trained, up to `count` of them, on real images and with an untrained teacher."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.left, self.refused = folder, count, list[str]()
        self.images = ingest({"name": "digits"}, folder / "images")
        job = Job.of(checked(configuration("cd")).teacher, self.images)
        self.teacher = Training(job, folder / "teacher").model().save(folder / "model")

    def train(self, given: Odd, found: Parameters) -> None:
        if self.left and given.place[0] in TRAININGS and not found.student.earlier:
            self.left -= 1
            refusal = two_steps(given, found, self.images, self.teacher, self.folder / str(self.left))
            self.refused += [refusal] if refusal else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("count", 10_000), ("seed", 0), ("train", 100)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seconds", type=float, default=5)
    options, bounds = parser.parse_args(), Bounds()
    configurations = [configuration(recipe) for recipe in RECIPES]
    counts, wrong = Counter[tuple[str, str]](), list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        trainings = Trainings(Path(temporary), options.train)
        for number in range(options.count):
            given = odd(configurations[number % len(RECIPES)], options.seed + number)
            try:
                found = check(given, options.seconds)
                if found:
                    trainings.train(given, found)
                counts[given.kind, "taken" if found else "refused"] += 1
            except Exception as bug:
                wrong.append(f"{given}: {type(bug).__name__} {bug}")
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:10} {what:8} {count:6}")
    trained = options.train - trainings.left
    print(f"{trained} trained two steps, and {len(trainings.refused)} of them were refused then:")
    print("\n".join([*trainings.refused, *wrong]))
    bounds.at_most("configurations that were neither refused by name nor trained", len(wrong), 0)
    bounds.settle()


if __name__ == "__main__":
    main()
