"""The search for a student's levels."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from fewstep.data import ingest
from fewstep.evaluation.search import CANDIDATES, SEED, kept_levels, search_levels
from fewstep.models.model import Model, build_function
from fewstep.models.spec import ModelSpec


@dataclass(frozen=True)
class Student:
    """Its samples say at which levels they were made."""

    spec: ModelSpec = field(default_factory=lambda: ModelSpec("cd", {}, {}))
    samplers: tuple = ("multistep",)
    seeds: set = field(default_factory=set)
    least_level: float = 0.002

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
    student = Student()
    levels = search_levels(student, Judge(), [1, 2, 3], 10)
    one, ten = (min(CANDIDATES, key=lambda c: abs(np.log10(c / wanted))) for wanted in (1, 10))
    assert levels == {2: (one,), 3: (ten, one)}
    assert student.seeds == {SEED} and SEED < 0


def test_every_trial_is_told():
    told = []
    search_levels(Student(), Judge(), [1, 2, 3], 10, on_progress=lambda *given: told.append(given))
    assert told == [(k, 19, "2 NFE" if k <= 10 else "3 NFE") for k in range(1, 20)]


def test_a_sampler_with_a_grid_of_its_own_is_left_alone():
    student = Student(ModelSpec("pd", {}, {}, levels={2: (3.0,)}), samplers=("euler", "heun"))
    assert search_levels(student, Judge(), [1, 2], 10) == {2: (3.0,)} and not student.seeds


@pytest.fixture(scope="module")
def moons(tmp_path_factory):
    """A store, and a student that was drawn at random."""
    store = ingest({"name": "moons", "count": 400}, tmp_path_factory.mktemp("search") / "moons")
    spec = ModelSpec("cd", {"name": "mlp"}, {"name": "consistency"})
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        function = build_function(spec, store.space).eval()
    return store, Model(function, store.space, spec)


def test_what_was_found_is_kept_until_something_else_is_asked(moons, tmp_path):
    store, model = moons
    file = tmp_path / "run" / "search.json"
    found = kept_levels(model, store, None, [1, 2], 20, file)
    assert found[2][0] in CANDIDATES
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "levels": {"2": [7.0]}}))
    assert kept_levels(model, store, None, [1, 2], 20, file) == {2: (7.0,)}
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        retrained = replace(model, function=build_function(model.spec, store.space).eval())
    for other in (retrained, model.at_levels({2: (3.0,)})):
        file.write_text(json.dumps({**kept, "levels": {"2": [7.0]}}))
        assert kept_levels(other, store, None, [1, 2], 20, file) != {2: (7.0,)}
    assert kept_levels(model, store, None, [1, 3], 20, file).keys() == {2, 3}


@pytest.mark.parametrize(("size", "batches"), [(20, {20}), (7, {7, 6})])
def test_trials_are_made_in_batches(moons, tmp_path, size, batches):
    store, model = moons
    sizes = []
    watch = model.function.register_forward_hook(lambda *given: sizes.append(len(given[-1])))
    try:
        found = kept_levels(model, store, None, [2], 20, tmp_path / "search.json", size)
    finally:
        watch.remove()
    assert set(sizes) == batches and sum(sizes) == 20 * 2 * len(CANDIDATES)
    assert found == kept_levels(model, store, None, [2], 20, tmp_path / "whole.json")


def test_levels_that_a_full_disk_refused_are_searched_again(moons, small_disk):
    store, model = moons
    disk = small_disk(4096)
    (disk / "all").write_bytes(bytes(4096))
    with pytest.raises(OSError):
        kept_levels(model, store, None, [2], 20, disk / "search.json")
    (disk / "all").unlink()
    assert kept_levels(model, store, None, [2], 20, disk / "search.json")[2][0] in CANDIDATES


def test_the_search_never_sees_what_scores_are_measured_against(moons, tmp_path):
    store, model = moons

    class Guarded:
        """A store whose training data nobody looks at."""

        space, sha256 = store.space, store.sha256

        def images(self, split):
            assert split == "heldout"
            return store.images(split)

    kept_levels(model, Guarded(), None, [1, 2], 20, tmp_path / "search.json")
