"""A model's scores as the registry keeps them."""

import pytest

from fewstep.registry.evidence import evidence_of, flat_scores, judged_by


def test_scores_have_one_name_for_each_nfe(scores):
    assert flat_scores(scores(26.0), "cd") == {
        "fid_digits/nfe_01": 26.0,
        "fid_digits/nfe_02": 25.0,
        "memorisation/nfe_01": 0.0,
        "memorisation/nfe_02": 0.0,
        "sampling_images_per_second/nfe_01": 900.0,
        "sampling_images_per_second/nfe_02": 900.0,
        "fid_digits/floor": 19.0,
    }
    teacher = flat_scores(scores(26.0), "teacher")
    assert (teacher["fid_digits/nfe_09"], teacher["fid_digits/euler_nfe_01"]) == (119.0, 300.0)
    with pytest.raises(ValueError, match=r"no scores of 'ect' here, only of cd, teacher"):
        flat_scores(scores(26.0), "ect")


def test_points_are_judged_by_the_wasserstein_distance(scores):
    rows = [{"model": "cd", "sampler": "multistep", "nfe": 1, "images_per_second": 1.0}]
    rows[0]["scores"] = {"wasserstein": {"mean": 0.1, "values": [0.1]}}
    judged = judged_by(scores(0.0, extractor=None, rows=rows), "cd")
    assert (judged["score"], judged["value"], judged["extractor_sha256"]) == ("wasserstein/nfe_01", 0.1, None)


def test_a_model_that_was_not_evaluated_at_one_nfe_is_not_judged(scores):
    facts = scores(26.0)
    facts["rows"] = [row for row in facts["rows"] if row["nfe"] != 1]
    with pytest.raises(ValueError, match="evaluate it at 1 NFE"):
        judged_by(facts, "cd")


def test_the_evidence_is_of_the_models_own_sampler(scores):
    evidence = evidence_of(scores(26.0, seeds=[4]), "teacher", 9)
    assert evidence["values"] == {"fid_digits": [119.0], "memorisation": [0.0]}
    assert (evidence["seeds"], evidence["nfe"], evidence["extractor_sha256"]) == ([4], 9, "e" * 64)
    assert evidence_of(scores(26.0), "teacher", 1) is None  # Euler's
    assert evidence_of(scores(26.0, extractor=None), "cd", 1)["extractor_sha256"] is None
