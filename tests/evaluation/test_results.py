"""Scores as types: their JSON, what is primary, and what has to agree before they are compared."""

import json
from dataclasses import replace

import pytest

from fewstep.evaluation.results import FORMAT, Evaluation, ExtractorId, Floor, Measurement, Row, Score, TrainingBudget

MEASURED = Measurement("digits", "d" * 64, "train", ExtractorId("digits", "e" * 64), 400, (0, 1, 2))
OLD = {  # as scores.json was before it had a format
    "dataset": "digits",
    "data_sha256": "d" * 64,
    "split": "train",
    "extractor": {"name": "digits", "sha256": "e" * 64},
    "count": 400,
    "seeds": [0],
    "provisional": True,
    "floor": {
        "count": 449,
        "scores": {"fid_digits": {"mean": 2.6, "interval": None, "values": [2.6]}},
        "note": "only 449 images are held out",
    },
    "rows": [
        {
            "model": "cd",
            "sampler": "multistep",
            "nfe": 2,
            "levels": [80.0, 5.0],
            "scores": {
                "kid_digits": {"mean": 0.1, "interval": None, "values": [0.1]},
                "fid_digits": {"mean": 4.2, "interval": None, "values": [4.2]},
            },
            "images_per_second": 900.0,
        }
    ],
    "levels": "search",
    "models": {"cd": "a" * 64},
}


def evaluation(model="cd", **changes):
    scores = {"fid_digits": Score((4.0, 4.2, 4.6)), "kid_digits": Score((0.1, 0.2, 0.3))}
    row = Row(model, "multistep", 1, (80.0,), scores, 900.0)
    measurement = replace(MEASURED, **changes)
    return Evaluation(measurement, "fid_digits", (row,), Floor(400, scores), models={model: "a" * 64})


def through_json(facts):
    return json.loads(json.dumps(facts))


@pytest.mark.parametrize(
    "found",
    [
        evaluation(),
        replace(evaluation(), levels="search", budget=TrainingBudget("images", 64_000)),
        replace(
            evaluation(extractor=None), primary="wasserstein", floor=Floor(9, {"x": Score((1.0, 1.0), True)}, "few")
        ),
        Evaluation.from_json(OLD),
    ],
)
def test_an_evaluation_is_read_as_it_was_written(found):
    facts = through_json(found.to_json())
    assert Evaluation.from_json(facts) == found
    assert facts["format"] == FORMAT and Evaluation.from_json(facts).to_json() == facts


def test_scores_of_before_are_read():
    found = Evaluation.from_json(OLD)
    assert found.primary == "fid_digits"
    assert found.measurement.seeds == (0,) and found.measurement.provisional
    assert found.row_of("cd", 2).levels == (80.0, 5.0) and found.row_of("cd", 2).scores["fid_digits"].mean == 4.2
    assert (found.levels, found.models, found.budget) == ("search", {"cd": "a" * 64}, None)
    assert found.floor.note == "only 449 images are held out"
    contest = {key: value for key, value in OLD.items() if key not in ("models", "levels")}
    contest |= {"model_sha256": "b" * 64, "budget": {"unit": "images", "amount": 64_000}}
    found = Evaluation.from_json(contest)
    assert (found.models, found.budget) == ({"cd": "b" * 64}, TrainingBudget("images", 64_000))
    assert Evaluation.from_json({**OLD, "extractor": None}).primary == "wasserstein"


def test_changed_scores_are_refused():
    facts = through_json(evaluation().to_json())
    better = through_json(facts)
    better["rows"][0]["scores"]["fid_digits"]["values"][0] -= 1e-12
    unsealed = {name: value for name, value in facts.items() if name != "seal"}
    for changed in (better, unsealed, facts | {"models": {}}, facts | {"levels": "search"}, facts | {"seal": None}):
        with pytest.raises(ValueError, match="these scores were changed after they were measured"):
            Evaluation.from_json(changed)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"models": {}}, "no scores as scores.json has them"),
        ([], "no scores"),
        ({**OLD, "rows": 3}, "no scores"),
        ({**OLD, "format": FORMAT + 1}, f"scores of format {FORMAT + 1}, from a newer version"),
    ],
)
def test_what_is_no_evaluation_is_refused(facts, words):
    with pytest.raises(ValueError, match=words):
        Evaluation.from_json(facts)


def test_the_floor_of_the_same_samples_has_no_interval():
    score = Score((2.6, 2.7, 2.8), same_samples=True)
    assert score.interval is None and Score(score.values).interval
    assert Score.from_json(through_json(score.to_json())) == score


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_sha256": "f" * 64}, r"the data hash differs \(dddd.* here, ffff.* there\)"),
        ({"extractor": ExtractorId("digits", "f" * 64)}, r"extractor differs \(digits eeee.*, digits ffff"),
        ({"extractor": None}, r"the extractor differs \(digits e* here, None there\)"),
        ({"split": "heldout"}, r"the split differs \(train here, heldout there\)"),
        ({"count": 50}, r"the sample count differs \(400 here, 50 there\)"),
        ({"seeds": (0,)}, r"the set of seeds differs \(\[0, 1, 2\] here, \[0\] there\)"),
    ],
)
def test_what_was_measured_differently_is_not_joined(change, words):
    with pytest.raises(ValueError, match=f"scores of cd .here. and of ect .there. cannot be compared: .*{words}"):
        evaluation().joined(evaluation("ect", **change))


def test_what_was_measured_alike_is_joined():
    both = evaluation().joined(evaluation("ect", dataset="digits again"))
    assert [row.model for row in both.rows] == ["cd", "ect"]
    assert both.models == {"cd": "a" * 64, "ect": "a" * 64}
    assert evaluation().joined() == evaluation()


def test_flat_names_have_one_for_each_nfe(scores):
    assert scores(26.0).means_of("cd") == {
        "fid_digits/nfe_01": 26.0,
        "fid_digits/nfe_02": 25.0,
        "memorisation/nfe_01": 0.0,
        "memorisation/nfe_02": 0.0,
        "sampling_images_per_second/nfe_01": 900.0,
        "sampling_images_per_second/nfe_02": 900.0,
        "fid_digits/floor": 19.0,
    }
    teacher = scores(26.0).means_of("teacher")
    assert (teacher["fid_digits/nfe_09"], teacher["fid_digits/euler_nfe_01"]) == (119.0, 300.0)
    with pytest.raises(ValueError, match=r"no scores of 'ect' here, only of cd, teacher"):
        scores(26.0).means_of("ect")
