"""A teacher is scored once."""

import json

import pytest

from fewstep.data import ingest
from fewstep.evaluation.kept_scores import kept_scores
from fewstep.evaluation.ladder import Judge
from fewstep.evaluation.sampling import settings_by_sampler


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return ingest({"name": "moons", "count": 200}, tmp_path_factory.mktemp("data") / "moons")


@pytest.fixture
def score(points, draw_model, tmp_path):
    """A function of what differs: the scores of a teacher, and whether they were made now."""
    judge, network = Judge.of(points, None), {"name": "mlp", "channels": 8, "num_blocks": 1}
    facts = {"name": "teacher", "network": network, "preconditioning": {"name": "edm"}}

    def scored(seed=0, nfe=3, **sizes):
        made: list[int] = []
        model = draw_model(facts, points.space, seed)
        settings = settings_by_sampler(model, {"euler": [nfe]})
        given = {"count": 20, "seeds": [0], "batch_size": 10, "judge": judge, "file": tmp_path / "scores.json"} | sizes
        told = {"on_progress": lambda done, total: made.append(done)}
        return kept_scores(settings, model.sha256, points, None, **given, **told), bool(made)

    return scored


def test_the_same_scores_are_not_made_twice(score):
    first, made = score()
    assert made and score() == (first, False)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"nfe": 2}, {"count": 21}, {"seeds": [1]}])
def test_other_weights_settings_or_samples_are_scored_anew(score, changed):
    score()
    assert score(**changed)[1] and not score(**changed)[1]


@pytest.mark.parametrize("damage", ["{", "[]", json.dumps({"of": 1})])
def test_a_damaged_file_is_made_again(score, tmp_path, damage):
    first, _ = score()
    (tmp_path / "scores.json").write_text(damage)
    again, made = score()
    assert made and again.rows[0].scores == first.rows[0].scores


def test_scores_of_other_code_are_made_again(score, monkeypatch):
    from fewstep import samplers

    score()
    monkeypatch.setattr(samplers, "NUMERICS", samplers.NUMERICS + 1)
    assert score()[1]
