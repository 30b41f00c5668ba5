"""promote, as a user runs it: models of different quality, judged by the digits' own features."""

import json

import pytest

from fewstep.evaluation.features import open_extractor
from fewstep.models.model import Model, build_function
from fewstep.pipelines import promote
from fewstep.pipelines import register as registration
from fewstep.pipelines.promote.nodes import make_exam, promote_version, race
from fewstep.registry import register
from fewstep.tracking import Store

pytestmark = pytest.mark.slow

EVALUATION = {"count": 50, "full_seeds": [0, 1, 2], "batch_size": 25}
PROMOTION = {"rules": {"first": {"kid": 100.0}, "keep_recall": 0.0, "keep_speed": 0.0}, "version": None}


@pytest.fixture
def student(digits, randomised, tmp_path):
    """An untrained student, whose pictures are as wrong as its weights are large."""

    def make(std):
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
        spec = {"name": "cd", "network": network, "preconditioning": {"name": "consistency"}, "labels": False}
        spec |= {"levels": {}, "data_sha256": digits.sha256, "provenance": {"teacher_sha256": None}}
        function = randomised(build_function(spec, digits.space), 0, std)
        return Model(function, digits.space, spec).save(tmp_path / f"student_{std}")

    return make


@pytest.mark.slow
def test_the_gate_measures_what_it_needs(digits, student, tmp_path, capsys):
    store, extractor = Store.at(tmp_path, "sqlite:///mlflow.db"), open_extractor("digits")
    exam = make_exam(digits, extractor, EVALUATION)
    models = [student(std) for std in (0.3, 0.02)]
    kids = [exam.scores(model, 1).rows[0].scores["kid_digits"].mean for model in models]
    good, bad = (models[n] for n in (kids.index(min(kids)), kids.index(max(kids))))
    one_seed = make_exam(digits, extractor, EVALUATION | {"full_seeds": [0]})
    for model in (bad, good):
        register(model.folder, one_seed.scores(model, 1), store)
    moved = promote_version(digits, extractor, store, PROMOTION, EVALUATION)
    assert [(move["kind"], move["to"]) for move in moved["moves"]] == [("first", 1), ("promoted", 2)]
    assert "fewstep-digits version 2: promoted; at 1 NFE, over 3 seeds of 50, its kid_digits" in capsys.readouterr().out
    again = promote_version(digits, extractor, store, PROMOTION | {"version": 1}, EVALUATION)
    assert again["moves"] == moved["moves"]
    assert "version 1: refused" in capsys.readouterr().out
    kept = json.loads(store.client().get_model_version("fewstep-digits", "1").tags["facts"])
    assert kept["evidence"]["1"]["seeds"] == [0, 1, 2]


def test_what_is_registered_in_the_same_run_is_judged():
    both = promote.create_pipeline() + registration.create_pipeline()
    assert [node.name for node in both.nodes] == ["register_student", "promote_version"]


def test_the_speed_is_of_the_sampling(student):
    one = student(0.02)
    fast, slow = race([one, one], 1, 20)[0], race([one], 40, 20)[0]
    assert fast > slow > 0
