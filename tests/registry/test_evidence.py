"""A model's scores as the registry keeps them."""

from dataclasses import replace

import pytest

from fewstep.evaluation.results import Evidence
from fewstep.registry.record import judged_by


def test_points_are_judged_by_the_wasserstein_distance(scores):
    rows = [{"model": "cd", "sampler": "multistep", "nfe": 1, "images_per_second": 1.0}]
    rows[0]["scores"] = {"sliced_wasserstein": {"values": [0.2]}, "wasserstein": {"values": [0.1]}}
    judged = judged_by(scores(0.0, extractor=None, rows=rows), "cd")
    assert (judged["score"], judged["value"], judged["extractor_sha256"]) == ("wasserstein/nfe_01", 0.1, None)


def test_a_model_that_was_not_evaluated_at_one_nfe_is_not_judged(scores):
    found = scores(26.0)
    found = replace(found, rows=tuple(row for row in found.rows if row.nfe != 1))
    with pytest.raises(ValueError, match="evaluate it at 1 NFE"):
        judged_by(found, "cd")


def test_the_evidence_is_of_the_models_usual_sampler(scores):
    evidence = Evidence.of(scores(26.0, seeds=[4]), "teacher", 9)
    assert evidence.values == {"fid_digits": (119.0,), "memorisation": (0.0,)}
    assert (evidence.seeds, evidence.nfe, evidence.extractor_sha256) == ((4,), 9, "e" * 64)
    assert Evidence.of(scores(26.0), "teacher", 1) is None  # Euler's
    assert Evidence.of(scores(26.0, extractor=None), "cd", 1).extractor_sha256 is None


def test_evidence_is_read_as_it_was_written(scores):
    evidence = Evidence.of(scores(26.0, seeds=[0, 1, 2]), "cd", 2)
    assert Evidence.from_json(evidence.to_json()) == evidence and evidence.full
    assert list(evidence.to_json()) == ["data_sha256", "count", "seeds", "extractor_sha256", "nfe", "values"]
