import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from fewstep.data import ingest
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.evaluation import ladder
from fewstep.evaluation.counting import count_evaluations
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import Judge, evaluate, evaluate_given, floor
from fewstep.evaluation.perception import diversity
from fewstep.evaluation.results import Evaluation, Evidence, ExtractorId
from fewstep.evaluation.sampling import SamplingSetting, sampling_settings
from fewstep.losses.distances import build_distance
from fewstep.networks.execution import Execution
from fewstep.reporting.table import scores_table


class Halving(nn.Module):
    def forward(self, x, sigma):
        return x / 2


def rung(space, model, nfe, declared=None, bend=1.0):
    """Noise through `nfe` calls of a function, as stored values."""
    function = Halving()

    def generate(seed, indices):
        x = SampleRandomness(seed, indices).normal(space.shape)
        for _ in range(nfe):
            x = function(x, torch.ones(len(x)))
        return space.decode(bend * x)

    return SamplingSetting(model, "multistep", declared or nfe, [80.0] * nfe, generate, function)


def test_how_the_passes_ran_is_recorded_and_no_bar_to_comparison(digits, extractor):
    plain, fast = rung(digits.space, "cd", 1), rung(digits.space, "fast", 1)
    fast = replace(fast, execution=Execution("bf16"))
    sizes = {"count": 20, "seeds": [0, 1, 2]}
    scores = evaluate([plain], digits, extractor, **sizes).joined(evaluate([fast], digits, extractor, **sizes))
    kept = Evaluation.from_json(json.loads(json.dumps(scores.to_json())))
    assert kept == scores and [row.way for row in kept.rows] == ["multistep", "multistep, bf16"]
    assert "multistep, bf16" in scores_table(kept)
    one, other = Evidence.of(kept, "cd", 1), Evidence.of(kept, "fast", 1)
    assert "the precision in which samples are made differs (fp32 here, bf16 there)" in one.difference(other)
    assert Evidence.from_json(json.loads(json.dumps(other.to_json()))).difference(other) is None


@pytest.fixture(scope="module")
def moons_store(tmp_path_factory):
    return ingest({"name": "moons"}, tmp_path_factory.mktemp("ladder") / "moons")


def test_scores_of_images(digits, extractor):
    said = []
    rungs = [rung(digits.space, "cd", 1), rung(digits.space, "teacher", 3)]
    scores = evaluate(
        rungs, digits, extractor, count=60, seeds=[0, 1, 2], batch_size=25,
        on_progress=lambda *progress: said.append(progress),
    )  # fmt: skip
    assert Evaluation.from_json(json.loads(json.dumps(scores.to_json()))) == scores
    how = scores.measurement
    assert (how.dataset, how.data_sha256) == ("digits", digits.sha256)
    assert how.extractor == ExtractorId("digits", extractor.sha256)
    assert (how.count, how.seeds, how.provisional) == (60, (0, 1, 2), False)
    assert scores.primary == "fid_digits"
    assert [(row.model, row.nfe, row.levels) for row in scores.rows] == [
        ("cd", 1, (80.0,)),
        ("teacher", 3, (80.0,) * 3),
    ]
    names = {f"{name}_digits" for name in ("fid", "kid", "precision", "recall", "density", "coverage", "is")} | {
        "memorisation"
    }
    for part in (*scores.rows, scores.floor):
        assert set(part.scores) == names
        assert all(s.mean == pytest.approx(np.mean(s.values)) for s in part.scores.values())
        assert all(len(s.values) == 3 for s in part.scores.values())
    assert scores.floor.scores["fid_digits"].mean < scores.rows[0].scores["fid_digits"].mean
    assert said == sorted(said)
    assert said[-1] == (360, 360)
    assert len(set(scores.rows[0].scores["fid_digits"].values)) == 3  # each seed has samples of its own


def test_the_batch_does_not_change_the_scores_and_models_share_noise(moons_store):
    rungs = [rung(moons_store.space, "a", 2), rung(moons_store.space, "b", 2)]
    scores = [evaluate(rungs, moons_store, None, count=50, seeds=[0], batch_size=b).rows for b in (7, 50)]
    assert [row.scores for row in scores[0]] == [row.scores for row in scores[1]]
    assert scores[0][0].scores == scores[0][1].scores


@pytest.mark.parametrize("at_first", [True, False])
def test_a_batch_that_does_not_fit_changes_no_score_and_no_count(moons_store, at_first):
    """Whether there is too little memory from the first batch on, or only later."""
    usual, calls = rung(moons_store.space, "cd", 2), []

    def generate(seed, indices):
        samples = usual.generate(seed, indices)  # the network was called before the memory is out
        calls.append(len(indices))
        if len(indices) > 16 and (at_first or len(calls) > 1):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")
        return samples

    sizes = {"count": 50, "seeds": [0], "batch_size": 50}
    found = evaluate([replace(usual, generate=generate)], moons_store, None, **sizes)
    assert found.rows[0].scores == evaluate([usual], moons_store, None, **sizes).rows[0].scores
    assert max(calls[4:]) <= 16


def test_scores_of_points(moons_store):
    scores = evaluate([rung(moons_store.space, "cd", 1)], moons_store, None, count=80, seeds=[0])
    assert scores.measurement.extractor is None
    assert scores.measurement.provisional and scores.primary == "wasserstein"
    names = {"wasserstein", "sliced_wasserstein", "memorisation"}
    assert set(scores.rows[0].scores) == set(scores.floor.scores) == names
    assert scores.floor.scores["wasserstein"].mean < scores.rows[0].scores["wasserstein"].mean


def test_lpips_is_built_once_and_for_scores_alone(digits, extractor, monkeypatch):
    distance, built = build_distance({"name": "lpips_random", "net": "squeeze"}, digits.space.scale), []
    monkeypatch.setattr(ladder, "find_lpips", lambda space: built.append(space) or distance)
    judge, samples = Judge.of(digits, extractor), np.array(digits.images("heldout")[:40])
    judge.distance(samples, 0)  # as a search of levels asks
    assert not built
    found = [judge.scores(samples, seed)["lpips_diversity"] for seed in (0, 1)]
    assert found == [diversity(samples, distance, digits.space)] * 2 and found[0] > 0
    assert built == [digits.space]


def test_nfe_is_counted(moons_store):
    with pytest.raises(AssertionError, match="not 1 NFE"):
        evaluate([rung(moons_store.space, "cd", 2, declared=1)], moons_store, None, count=20, seeds=[0])


def test_evaluations_are_counted_inside_the_block_only():
    function = Halving()
    with count_evaluations(function) as counted:
        function(torch.zeros(3, 2), None)
        function(torch.zeros(4, 2), None)
    function(torch.zeros(5, 2), None)
    assert (counted.calls, counted.samples) == (2, 7)


def test_the_floor_takes_other_images_for_each_seed_and_says_when_there_are_too_few(digits, extractor):
    heldout, judge = digits.images("heldout"), Judge.of(digits, extractor)
    enough = floor(heldout, judge, 100, [0, 1])
    assert enough.count == 100
    assert enough.note is None
    assert len(set(enough.scores["fid_digits"].values)) == 2
    none = floor(heldout[:9], judge, 100, [0])
    assert (none.count, none.scores) == (9, {}) and none.note.startswith("there is none: 9 images are held out")
    few = floor(heldout, judge, 1000, [0])
    assert few.count == len(heldout)
    assert "only 449" in few.note


def test_samples_of_others_are_scored_by_parts_that_share_none(digits, extractor):
    rows, parts = np.array(digits.images("train")[:90]), []

    class Recorder(Extractor):
        def __call__(self, images, batch_size=64, spatial=False):
            parts.append(images)
            return super().__call__(images, batch_size, spatial)

    recorder = Recorder(**{f.name: getattr(extractor, f.name) for f in fields(extractor)})
    scores = evaluate_given(rows, "mine", digits, recorder, count=30, seeds=[0, 1, 2])
    assert (scores.measurement.count, scores.rows[0].model, scores.floor.count) == (30, "mine", 30)
    given = [part for part in parts if len(part) == 30][:3]
    assert sorted(image.tobytes() for part in given for image in part) == sorted(image.tobytes() for image in rows)
    assert scores.rows[0].scores["memorisation"].mean == 1
    assert scores.rows[0].scores["fid_digits"].interval
    assert "mine" in scores_table(scores)
    with pytest.raises(ValueError, match="30 samples for each of the seeds 0, 1, 2 need 90 samples, and mine has 89"):
        evaluate_given(rows[:89], "mine", digits, extractor, count=30, seeds=[0, 1, 2])


def test_a_class_conditional_model_is_asked_for_its_classes_in_turn(digits, extractor, draw_model):
    spec = {"network": {"name": "unet", "channels": 8}, "preconditioning": {"name": "edm"}, "labels": True, "name": "t"}
    model = draw_model(spec, digits.space)
    (found,) = sampling_settings(model, "euler", [1])
    assert found.classes == 10
    labels = torch.tensor([8, 9, 0])
    assert np.array_equal(
        found.generate(1, range(8, 11)),
        model.sample(nfe=1, seed=1, indices=range(8, 11), labels=labels, sampler="euler"),
    )

    real, of = digits.images("heldout"), np.array(digits.labels("heldout"))
    places = [np.flatnonzero(of == label) for label in range(10)]

    def ideal(seed, indices):
        found.function(torch.zeros(len(indices), 1, 8, 8), torch.ones(len(indices)))
        return np.stack([real[places[i % 10][i // 10]] for i in indices])

    rungs = [replace(found, generate=ideal), replace(found, generate=ideal, classes=0)]
    rows = evaluate(rungs, digits, extractor, count=200, seeds=[0], batch_size=70).rows
    assert rows[0].scores["label_agreement_digits"].mean > 0.97
    assert "label_agreement_digits" not in rows[1].scores
    assert rows[0].scores["class_fid_digits"].mean < rows[0].scores["worst_class_fid_digits"].mean
    assert "class_fid_digits" not in rows[1].scores


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 9}, "count must be at least 10, got 9"),
        ({"seeds": []}, "seeds must be at least one number"),
        ({"seeds": [1, 1]}, "seeds must be at least one number, without repetitions"),
        ({"extractor": None}, "images need a feature extractor"),
        ({"shape": (3, 8, 8)}, "takes images"),
    ],
)
def test_bad_input_fails_before_any_work(digits, extractor, change, words):
    def never(seed, indices):
        raise AssertionError("work began")

    untouched = replace(rung(digits.space, "cd", 1), generate=never)
    arguments = {"extractor": extractor, "count": 50, "seeds": [0], **change}
    if "shape" in arguments:
        arguments["extractor"] = replace(extractor, shape=arguments.pop("shape"))
    with pytest.raises(ValueError, match=words):
        evaluate([untouched], digits, **arguments)


def test_rungs_of_a_model_have_its_levels_and_its_samples(moons_store, draw_model):
    spec = {"network": {"name": "mlp"}, "preconditioning": {"name": "edm"}, "labels": False, "name": "teacher"}
    model = draw_model(spec, moons_store.space)
    found = sampling_settings(model, "heun", (3, 5))
    assert [(r.model, r.sampler, r.nfe, len(r.levels)) for r in found] == [
        ("teacher", "heun", 3, 2),
        ("teacher", "heun", 5, 3),
    ]
    assert np.array_equal(
        found[1].generate(1, np.arange(4)), model.sample(nfe=5, seed=1, indices=range(4), sampler="heun")
    )
    evaluate(found, moons_store, None, count=10, seeds=[0])
