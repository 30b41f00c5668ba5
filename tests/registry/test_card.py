"""The limits on a model card are those of its facts."""

from dataclasses import replace

import pytest

from fewstep.evaluation.results import Score
from fewstep.registry.card import card
from fewstep.registry.record import facts_for


def limits(model, scores):
    written = card(facts_for(model, scores, "fewstep-digits", {}), model)
    return written.split("**Limits** ")[1].split("\n\n")[0]


@pytest.fixture
def model(finished_model):
    found = finished_model()
    seen = replace(found.spec.provenance, images=64_000)
    return replace(found, spec=replace(found.spec, provenance=seen))


def test_limits_of_a_provisional_version(model, scores):
    given = scores(26.0)
    first, second, *others = given.rows
    second = replace(second, scores=second.scores | {"memorisation": Score((0.025,))})
    floor = replace(given.floor, scores=given.floor.scores | {"memorisation": Score((0.01,))})
    given = replace(given, rows=(first, second, *others), floor=floor)
    assert limits(model, given) == (
        "It makes 1x8x8 images like those of digits, and no others. Training showed it 64,000, repetitions counted. "
        "It was judged at 1, 2 NFE, and is not known at others. "
        "Its scores at 1, 2 NFE are provisional: of fewer than 3 seeds. "
        "`fid_digits` compares with nothing but `fid_digits` on the same data, by the same features "
        "(`eeeeeeeeeeee`), of as many samples. "
        "At most 2.50% of its samples are memorised: three times nearer to one training sample than to any other. "
        "Of held-out data that share is 1.00%."
    )


def test_what_is_not_known_is_not_said(finished_model, scores):
    found = limits(finished_model(), scores(26.0, seeds=[0, 1, 2]))
    assert "Training showed" not in found and "provisional" not in found
    assert "Of held-out data that share is unknown" in found


def test_points_have_no_features(model, scores):
    given = scores(0.2, extractor=None)
    rows = tuple(replace(row, scores={"wasserstein": row.scores["fid_digits"]}) for row in given.rows)
    given = replace(given, rows=rows, primary="wasserstein")
    found = limits(model, given)
    assert "`wasserstein` compares with nothing but `wasserstein` on the same data, of as many samples." in found
    assert "memorised" not in found
