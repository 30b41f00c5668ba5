"""What a sampler of Optuna proposes for a sweep, without trainings."""

import math
from types import SimpleNamespace

import pytest

from fewstep.commands.sweep_search import search
from fewstep.pipelines.sweep_words import read_axes
from fewstep.reporting.sweep_table import Outcome
from fewstep.support.errors import InvalidInput

pytest.importorskip("optuna")
RATE = "student.training.learning_rate"
WORDS = (f"{RATE}=1e-5:1e-1:log", "network.channels=16,32", "student.training.batch_size=8:12")


class Maker:
    """Trials that are their values, in place of a project's."""

    def trial(self, values):
        return values

    def trials(self, every):
        return [SimpleNamespace(params={"trial": str(values)}, job=SimpleNamespace(name="ct")) for values in every]


@pytest.fixture
def proposed(scores):
    """Proposals of a search whose best rate is 1e-3: a function of (number, words, sampler)."""

    def propose(count, words=WORDS, sampler="tpe"):
        found, trials = [], []
        sweep = search(read_axes(words, drawn=True), Maker(), sampler, count)
        for values in sweep.propose(found):
            trials.append(values)
            fid = 10 + 5 * abs(math.log10(float(values[RATE]) / 1e-3))
            found.append(Outcome(values, "0", "cd", scores(fid) if len(found) != 3 else None))
        assert len(trials) <= sweep.total
        return trials

    return propose


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_same_search_makes_the_same_proposals_and_a_longer_one_goes_on(proposed, sampler):
    first = proposed(12, sampler=sampler)
    assert proposed(16, sampler=sampler)[:12] == first
    assert all(1e-5 <= float(values[RATE]) <= 1e-1 and values["network.channels"] in ("16", "32") for values in first)
    assert {values["student.training.batch_size"] for values in first} <= {"8", "9", "10", "11", "12"}
    assert len({values[RATE] for values in first}) == 12


def test_proposals_follow_the_scores(proposed):
    def distance(sampler):
        last = proposed(40, (WORDS[0],), sampler)[-20:]
        return sum(abs(math.log10(float(values[RATE]) / 1e-3)) for values in last) / len(last)

    assert distance("tpe") < 0.6 * distance("random")


def test_a_proposal_that_cannot_be_trained_is_left_out(proposed, monkeypatch, capsys):
    def trial(_, values):
        if int(values["student.training.batch_size"]) % 2:
            raise InvalidInput("batch_size must be even")
        return values

    every = proposed(12, sampler="random")
    monkeypatch.setattr(Maker, "trial", trial)
    even = [values for values in every if int(values["student.training.batch_size"]) % 2 == 0]
    assert proposed(12, sampler="random") == even and 0 < len(even) < 12
    assert capsys.readouterr().out.count("which is left out: batch_size must be even") == 12 - len(even)


def test_each_proposal_is_trained_with_every_seed(proposed):
    trials = proposed(3, (*WORDS, "seeds=2"))
    assert [values["student.seed"] for values in trials] == ["0", "1"] * 3
    assert [values[RATE] for values in trials[::2]] == [values[RATE] for values in trials[1::2]]


@pytest.mark.parametrize(
    ("words", "count", "message"),
    [
        (("recipe=ct", "seeds=2"), 5, "a parameter with several values, or with an interval such as"),
        ((*WORDS, "seeds=10"), 101, "at most 1,000 trials, got 1,010"),
    ],
)
def test_what_cannot_be_searched_is_refused(words, count, message):
    with pytest.raises(ValueError, match=message):
        search(read_axes(words, drawn=True), Maker(), "tpe", count)


def test_a_search_has_one_name_at_any_length_and_another_by_another_sampler():
    axes = read_axes(WORDS, drawn=True)
    names = [search(axes, Maker(), *how).name for how in (("tpe", 5), ("tpe", 9), ("qmc", 5))]
    assert names[0] == names[1] != names[2]
    assert search(axes, Maker(), "tpe", 5).title.endswith("batch_size=8:12 by tpe")
