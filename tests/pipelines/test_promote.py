"""promote, as a user runs it: models of different quality, judged by the digits' own features."""

import json

import pytest

from fewstep.config.parameters import EvaluationParameters, PromotionParameters
from fewstep.evaluation.features import open_extractor
from fewstep.evaluation.speed import compare_speeds
from fewstep.networks.execution import PLAIN
from fewstep.pipelines import promote
from fewstep.pipelines import register as registration
from fewstep.pipelines.promote.nodes import promote_version
from fewstep.registry import Rules, make_exam, register
from fewstep.tracking import Backend

pytestmark = pytest.mark.slow

EVALUATION = EvaluationParameters(count=50, full_seeds=(0, 1, 2), batch_size=25, teacher_nfe={"heun": (9,)})
RULES = Rules(first={"kid": 100.0}, keep_recall=0.0, keep_speed=0.0)


@pytest.fixture
def student(digits, draw_model, tmp_path):
    """An untrained student, whose pictures are as wrong as its weights are large."""

    def make(std):
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
        spec = {"name": "cd", "network": network, "preconditioning": {"name": "consistency"}, "labels": False}
        spec |= {"levels": {}, "data_sha256": digits.sha256, "provenance": {"teacher_sha256": None}}
        return draw_model(spec, digits.space, 0, std).save(tmp_path / f"student_{std}")

    return make


@pytest.mark.slow
def test_the_gate_measures_what_it_needs(digits, student, tmp_path, capsys):
    backend, extractor = Backend.at(tmp_path, "sqlite:///mlflow.db"), open_extractor("digits")
    exam = make_exam(digits, extractor, 50, (0, 1, 2), 25, PLAIN)
    models = [student(std) for std in (0.3, 0.02)]
    kids = [exam.scores(model.load(), 1).rows[0].scores["kid_digits"].mean for model in models]
    good, bad = (models[n] for n in (kids.index(min(kids)), kids.index(max(kids))))
    one_seed = make_exam(digits, extractor, 50, (0,), 25, PLAIN)
    for model in (bad, good):
        register(model, one_seed.scores(model.load(), 1), backend)
    moved = promote_version(digits, extractor, backend, PromotionParameters(rules=RULES), EVALUATION)
    assert [(move["kind"], move["to"]) for move in moved["moves"]] == [("first", 1), ("promoted", 2)]
    assert "fewstep-digits version 2: promoted; at 1 NFE, over 3 seeds of 50, its kid_digits" in capsys.readouterr().out
    again = promote_version(digits, extractor, backend, PromotionParameters(rules=RULES, version=1), EVALUATION)
    assert again["moves"] == moved["moves"]
    assert "version 1: refused" in capsys.readouterr().out
    kept = json.loads(backend.client().get_model_version("fewstep-digits", "1").tags["facts"])
    assert kept["evidence"]["1"]["seeds"] == [0, 1, 2]


def test_what_is_registered_in_the_same_run_is_judged():
    both = promote.create_pipeline() + registration.create_pipeline()
    assert [node.name for node in both.nodes] == ["register_student", "promote_version"]


def test_the_speed_is_of_the_sampling(student):
    one = student(0.02).load()
    fast, slow = compare_speeds([one, one], 1, 20)[0], compare_speeds([one], 40, 20)[0]
    assert fast > slow > 0
