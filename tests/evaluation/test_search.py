"""The search for a student's levels."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from onestep.evaluation.search import CANDIDATES, SEED, search_levels


@dataclass(frozen=True)
class Student:
    """Its samples say at which levels they were made."""

    spec: dict
    samplers: tuple = ("multistep",)
    seeds: set = field(default_factory=set)
    function: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(boundary=0.002))

    def sample(self, nfe, seed, indices, levels):
        self.seeds.add(seed)
        assert len(levels) == nfe and levels[0] == 80
        return np.tile(np.array(levels[1:]), (len(indices), 1))


class Judge:
    """Likes levels near 1 and 10."""

    def distance(self, samples, seed):
        logs = np.log10(samples[0])
        return min(np.abs(logs).min() + 0.1, 9) if len(logs) == 1 else np.abs(logs - [1.0, 0.0]).sum()


def test_the_best_level_more_is_added_to_the_best_list():
    student = Student({"levels": {}})
    levels = search_levels(student, Judge(), [1, 2, 3], 10).spec["levels"]
    one, ten = (min(CANDIDATES, key=lambda c: abs(np.log10(c / wanted))) for wanted in (1, 10))
    assert levels == {"2": [one], "3": [ten, one]}
    assert student.seeds == {SEED} and SEED < 0


def test_a_sampler_with_a_grid_of_its_own_is_left_alone():
    student = Student({"levels": {"2": [3.0]}}, samplers=("euler", "heun"))
    assert search_levels(student, Judge(), [1, 2], 10) is student
