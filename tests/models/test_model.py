import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewstep.data.space import DataSpace
from fewstep.evaluation.counting import count_evaluations
from fewstep.evaluation.sampling import sampling_settings
from fewstep.models.model import Model, SavedModel, build_function
from fewstep.models.spec import ModelSpec, Provenance
from fewstep.samplers import DENOISER_SAMPLERS
from fewstep.support.tensor_files import seal

SPACE = DataSpace("digits", "images", (1, 8, 8), 0.66, tuple("0123456789"))
NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
SPEC = ModelSpec("cd", NETWORK, {"name": "consistency"}, labels=True, levels={2: (0.3,)}, data_sha256="x")
EDM = replace(SPEC, preconditioning={"name": "edm"})


@pytest.fixture
def model(randomised):
    return Model(randomised(build_function(SPEC, SPACE), std=0.2).eval(), SPACE, SPEC)


@pytest.fixture
def saved(model, tmp_path):
    return model.save(tmp_path / "model")


def test_a_saved_model_is_the_same_function(model, saved):
    again = Model.load(saved.folder)
    assert again.spec == SPEC and again.space == SPACE and again.sha256 == model.sha256
    assert np.array_equal(again.sample(nfe=2, seed=0, indices=range(5)), model.sample(nfe=2, seed=0, indices=range(5)))


def test_a_sample_depends_on_its_index_and_seed_not_on_its_batch(model):
    whole = model.sample(nfe=2, seed=3, indices=range(6))
    part = model.sample(nfe=2, seed=3, indices=[4, 5])
    assert whole.dtype == np.uint8 and whole.shape == (6, 1, 8, 8)
    assert np.abs(whole[4:].astype(int) - part).max() <= 1
    assert not np.array_equal(whole, model.sample(nfe=2, seed=4, indices=range(6)))


def test_levels_come_from_the_description_or_the_grid(model):
    assert model.levels(1).tolist() == [80] and model.levels(2).tolist() == [80, 0.3]
    levels = model.levels(5)
    assert len(levels) == 5 and (levels.diff() < 0).all() and levels[-1] > 0.002


def test_the_sampler_that_a_method_names_comes_first_and_has_the_levels_of_the_description(model):
    def variant(**spec):
        return Model(model.function, SPACE, replace(EDM, **spec))

    assert variant().samplers == tuple(DENOISER_SAMPLERS) and variant().samplers[:2] == ("heun", "euler")
    tuned, few = variant(sampler="multistep"), variant(sampler="euler")
    assert tuned.samplers[:3] == ("multistep", "heun", "euler") and tuned.levels(2).tolist() == [80, 0.3]
    assert few.samplers[:2] == ("euler", "heun") and few.levels(2).tolist() == [80, 0.3]
    assert len(few.levels(3, "heun")) == 2 and few.levels(1).tolist() == [80]


def test_labels_are_obeyed_or_refused(model):
    sevens, ones = (model.sample(nfe=1, seed=0, indices=range(3), labels=torch.full((3,), k)) for k in (7, 1))
    assert not np.array_equal(sevens, ones)
    with pytest.raises(ValueError, match="between 0 and 9"):
        model.sample(nfe=1, seed=0, indices=range(1), labels=torch.tensor([10]))
    spec = replace(SPEC, labels=False)
    unlabelled = Model(build_function(spec, SPACE), SPACE, spec)
    with pytest.raises(ValueError, match="trained without labels"):
        unlabelled.sample(nfe=1, seed=0, indices=range(1), labels=torch.tensor([1]))


def test_wrong_samplers_and_nfe_are_refused(model):
    with pytest.raises(ValueError, match="no sampler of this model 'heun'"):
        model.sample(nfe=3, seed=0, indices=range(1), sampler="heun")
    with pytest.raises(ValueError, match="at least 1"):
        model.sample(nfe=0, seed=0, indices=range(1))
    with pytest.raises(ValueError, match="^gamma must be 0 with multistep, got 0.5: only the sampler gamma uses it"):
        model.sample(nfe=2, seed=0, indices=range(1), gamma=0.5)
    teacher = Model(model.function, SPACE, EDM)
    with pytest.raises(ValueError, match="odd"):
        teacher.levels(4, "heun")
    assert len(teacher.levels(9, "heun")) == 5


@pytest.mark.parametrize("sampler", DENOISER_SAMPLERS)
def test_every_sampler_spends_what_was_asked_and_knows_no_batch(model, sampler):
    teacher = Model(model.function, SPACE, EDM)
    with count_evaluations(teacher.function) as counted:
        whole = teacher.sample(nfe=9, seed=3, indices=range(6), sampler=sampler)
    assert counted.samples == 9 * 6
    part = teacher.sample(nfe=9, seed=3, indices=[4, 5], sampler=sampler)
    assert np.abs(whole[4:].astype(int) - part).max() <= 1
    assert not np.array_equal(whole, teacher.sample(nfe=9, seed=4, indices=range(6), sampler=sampler))


@pytest.fixture
def trajectory(model, randomised):
    how = {"network": NETWORK | {"second_time": True}, "preconditioning": {"name": "trajectory"}, "sampler": "gamma"}
    spec = replace(SPEC, **how, levels={}, provenance=Provenance(training={"labels": True}))
    return Model(randomised(build_function(spec, SPACE), std=0.2).eval(), SPACE, spec)


def test_a_trajectory_jumps_at_any_gamma_and_is_sampled_as_a_denoiser_too(trajectory):
    assert trajectory.samplers == ("gamma", "multistep", *DENOISER_SAMPLERS)
    levels = trajectory.levels(2)
    assert levels.tolist() == pytest.approx([80, 2.52], rel=1e-2)

    def sample(nfe=2, **how):
        with count_evaluations(trajectory.function) as counted:
            drawn = trajectory.sample(nfe=nfe, seed=0, indices=range(3), labels=torch.tensor([1, 2, 3]), **how)
        assert counted.samples == 3 * nfe
        return drawn

    whole, drawn = sample(), sample(gamma=0.5)
    assert np.array_equal(whole, sample()) and not np.array_equal(whole, drawn)
    assert np.array_equal(sample(gamma=1.0), sample(sampler="multistep", levels=levels))
    for name in DENOISER_SAMPLERS:
        sample(9, sampler=name)
    (rung,) = sampling_settings(trajectory, "gamma", [2], 0.5)
    assert rung.sampler == "gamma_0.5" and not np.array_equal(
        rung.generate(0, range(3)), trajectory.sample(nfe=2, seed=0, indices=range(3))
    )
    euler = sample(2, sampler="euler", levels=levels)
    assert not np.array_equal(euler, whole), "it is the score that it follows"


def test_guidance_strengthens_labels_in_one_pass_of_two_batches(trajectory):
    labels = torch.tensor([1, 2, 3])

    def sample(guidance, nfe=3):
        with count_evaluations(trajectory.function) as counted:
            drawn = trajectory.sample(
                nfe=nfe, seed=0, indices=range(3), labels=labels, sampler="heun", guidance=guidance
            )
        return drawn, counted

    plain, once = sample(1.0)
    strong, twice = sample(3.0)
    assert (once.calls, once.samples, twice.calls, twice.samples) == (3, 9, 3, 18)
    assert not np.array_equal(plain, strong)
    with pytest.raises(ValueError, match=r"^guidance must be 1, got 2: cd was not trained with a range .*heun"):
        trajectory.sample(nfe=2, seed=0, indices=range(3), guidance=2.0)
    always, imported = Provenance(training={"label_dropout": 0.0}), Provenance(source="x.pkl")
    for changes in ({"provenance": always}, {"provenance": imported}, {"labels": False}):
        other = replace(trajectory.spec, **changes)
        with pytest.raises(ValueError, match="^guidance must be 1, got 2: cd was not trained with hidden labels"):
            Model(trajectory.function, SPACE, other).sample(
                nfe=3, seed=0, indices=range(3), sampler="heun", guidance=2.0
            )


@pytest.mark.parametrize("sampler", ["gamma", "multistep"])
def test_a_student_of_several_strengths_is_told_one_by_the_length_of_its_label(trajectory, sampler):
    strengths = Provenance(objective={"guidance": [0.5, 3]})
    learned = replace(trajectory, spec=replace(trajectory.spec, provenance=strengths))
    told = []
    learned.function.register_forward_pre_hook(lambda _, inputs: told.append(inputs[2]))

    def sample(guidance):
        return learned.sample(
            nfe=2, seed=0, indices=range(2), labels=torch.tensor([1, 7]), sampler=sampler, guidance=guidance
        )

    plain, strong = sample(1.0), sample(2.5)
    one_hot = torch.eye(10)[[1, 7]]
    assert torch.equal(torch.stack(told), torch.stack([one_hot, one_hot, 2.5 * one_hot, 2.5 * one_hot]))
    assert not np.array_equal(plain, strong)
    with pytest.raises(ValueError, match="^guidance must be between 0.5 and 3 with cd, got 3.5"):
        sample(3.5)


@pytest.mark.parametrize("levels", [[80.0, 90.0], [90.0], [80.0, 0.002], [float("nan")]])
def test_levels_outside_of_what_was_trained_are_refused(model, levels):
    with pytest.raises(ValueError, match="above 0.002, at most 80"):
        model.sample(nfe=len(levels), seed=0, indices=range(1), levels=levels)


def test_a_model_whose_boundary_is_0_takes_none_below_sigma_min_and_as_many_as_the_evaluations(model):
    teacher = Model(model.function, SPACE, EDM)
    teacher = replace(teacher, function=build_function(teacher.spec, SPACE))
    teacher.sample(nfe=2, seed=0, indices=range(1), sampler="euler", levels=[80.0, 0.002])
    with pytest.raises(ValueError, match="above 0.002, at most 80"):
        teacher.sample(nfe=2, seed=0, indices=range(1), sampler="euler", levels=[80.0, 0.001])
    with pytest.raises(ValueError, match=r"^there must be 3 levels for these evaluations, got \[80.0\]"):
        teacher.sample(nfe=5, seed=0, indices=range(1), sampler="heun", levels=[80.0])


def test_saving_keeps_the_older_model_until_the_new_one_is_whole(model, tmp_path, monkeypatch):
    kept = model.save(tmp_path / "model")

    def killed(file, *_):
        file.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("fewstep.models.model.write_tensors", killed)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "model")
    assert Model.load(tmp_path / "model").sha256 == kept.sha256 and len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_other_things_is_not_replaced_by_a_model(model, tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no model.json"):
        model.save(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "dear"


def test_the_nearest_sampler_is_named(model):
    teacher = Model(model.function, SPACE, EDM)
    with pytest.raises(ValueError, match="Did you mean 'dpm_solver_3'"):
        teacher.sample(nfe=3, seed=0, indices=range(1), sampler="dpm_solver3")


def tamper(folder, name, change):
    file = folder / name
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(content)


def test_a_tampered_description_is_refused(saved):
    file = saved.folder / "model.json"
    facts = json.loads(file.read_text())
    facts["space"]["scale"] = 7.0
    file.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"model.json was changed after it was saved"):
        SavedModel.open(saved.folder)


def sealed(saved, **changes):
    """The folder with another description, under a seal that is right. changes: network__channels=5 is one inside."""
    file = saved.folder / "model.json"
    facts = json.loads(file.read_text())
    for name, value in changes.items():
        *places, last = name.split("__")
        section = facts
        for place in places:
            section = section[place]
        section[last] = value
        if value is LEFT_OUT:
            del section[last]
    del facts["seal"]
    file.write_text(json.dumps({**facts, "seal": seal(facts)}))
    return saved.folder


LEFT_OUT = object()
MISTYPED = {
    "a path as the run": ({"provenance__run": "../../../../elsewhere"}, "run must be a name: no path"),
    "a whole path as the run": ({"provenance__run": "/elsewhere"}, "run must be a name: no path"),
    "a path as the name": ({"name": "../elsewhere"}, "name must be a name: no path"),
    "a path as the data set": ({"space__name": "a/b"}, "name must be a name: no path"),
    "channels beyond its weights": ({"network__channels": 40_000}, "channels must be at most 16384, got 40000"),
    "wider features": ({"network__channel_mult": [1, 1e9]}, "channel_mult must be at most 64 each"),
    "blocks beyond its weights": ({"network__num_blocks": 20_000}, r"num_blocks must be at most 100, got 20000"),
    "sizes beyond its weights": ({"network__channel_mult": [1] * 9000}, "channel_mult must be a list of at most 12"),
    "more blocks than weights": (
        {"network__num_blocks": 100},
        r"it asks for 200 blocks, .* \d+ tensors",
    ),
    "another network": ({"network__channels": 16}, "is not of the network that model.json describes: .* must be"),
    "no such network": ({"network__name": "unett"}, "There is no network 'unett'. Did you mean 'unet'"),
    "a network that cannot be": ({"network__attn_resolutions": 5}, "describes no network"),
    "no such preconditioner": ({"preconditioning__name": "emd"}, "There is no preconditioner 'emd'"),
    "no such sampler": ({"sampler": "x"}, "There is no sampler of this model 'x'"),
    "another format": ({"format": 99}, "its format is 99"),
    "levels that are text": ({"levels": {"2": "x"}}, "levels must be a number each"),
    "levels of no number": ({"levels": {"two": [0.3]}}, "is no description of a model"),
    "levels that are not finite": ({"levels": {"2": [math.nan]}}, "levels must be finite each"),
    "labels that are text": ({"labels": "yes"}, "labels must be true or false"),
    "a scale of nothing": ({"space__scale": 1e-300}, "scale must be between"),
    "a space that is a list": ({"space": []}, "is no description of a model"),
    "a network that is a list": ({"network": []}, "network must be a section"),
    "a provenance that is text": ({"provenance": "here"}, "is no description of a model"),
    "no space": ({"space": LEFT_OUT}, "is no description of a model .space is missing"),
    "no name": ({"name": LEFT_OUT}, "is no description of a model"),
    "a share that is text": ({"provenance__training": {"label_dropout": "x"}}, "label_dropout is between 0 and 1"),
    "strengths that are text": ({"provenance__objective": {"guidance": ["a", "b"]}}, "guidance is a number, or a list"),
    "three strengths": ({"provenance__objective": {"guidance": [1, 2, 3]}}, "guidance is a number, or a list of two"),
    "no hash": ({"sha256": None}, "sha256 must be text"),
}


@pytest.mark.parametrize("fault", MISTYPED)
def test_a_description_that_makes_no_sense_is_refused_before_anything_is_built(saved, fault):
    changes, words = MISTYPED[fault]
    folder = sealed(saved, **changes)
    began = time.monotonic()
    with pytest.raises(ValueError, match=words):
        Model.load(folder)
    assert time.monotonic() - began < 10


def test_weights_that_are_not_finite_are_refused(model, tmp_path):
    with torch.no_grad():
        next(model.function.parameters()).view(-1)[0] = math.nan
    with pytest.raises(ValueError, match="has values that are not finite"):
        Model.load(model.save(tmp_path / "model").folder)


@pytest.mark.parametrize("place", [".", "/", "nowhere"])
def test_a_place_without_a_model_is_named(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"{place} is not a finished model: model.json is missing"):
        Model.load(Path(place))


def test_damaged_weights_are_refused(saved):
    tamper(saved.folder, "model.safetensors", lambda content: content.__setitem__(-1, content[-1] ^ 1))
    with pytest.raises(ValueError, match="hash differs"):
        Model.load(saved.folder)
    tamper(saved.folder, "model.safetensors", lambda content: content.__delitem__(slice(100, None)))
    with pytest.raises(ValueError, match=f"^{saved.folder} is damaged"):
        Model.load(saved.folder)
    (saved.folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors is missing"):
        SavedModel.open(saved.folder)


def test_an_opened_model_tells_what_it_is_and_can_be_loaded_and_copied_at_other_levels(model, saved, tmp_path):
    opened = SavedModel.open(saved.folder)
    assert opened == saved and (opened.sha256, opened.weights) == (model.sha256, model.weights)
    copied = opened.at_levels({2: (0.7,)}).save(tmp_path / "copy")
    loaded = SavedModel.open(copied.folder).load("cpu")
    assert loaded.sha256 == model.sha256 and loaded.levels(2).tolist() == [80, 0.7]
    assert SavedModel.open(saved.folder).spec == SPEC, "the first stays as it was"
    assert not loaded.function.training and not any(p.requires_grad for p in loaded.function.parameters())


def test_a_kill_between_the_two_renames_of_a_replacement_loses_no_model(model, saved):
    saved.folder.rename(saved.folder.with_name(".model.older"))
    assert Model.load(saved.folder).sha256 == model.sha256


def test_a_description_that_says_more_or_less_than_ours_is_read():
    facts = {"name": "cd", "network": {"name": "mlp"}, "preconditioning": {"name": "edm"}, "space": {}, "format": 1}
    facts |= {"levels": {"2": [0.3]}, "provenance": {"teacher_sha256": "t", "code": "c", "start_new": ["embed"]}}
    spec = ModelSpec.from_json(facts)
    assert (spec.levels, spec.labels, spec.sampler) == ({2: (0.3,)}, False, None)
    assert spec.provenance == Provenance(teacher_sha256="t", start_new=("embed",), more={"code": "c"})
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert "sampler" not in spec.to_json(), "as files without one have it"


def test_a_pointer_in_place_of_weights_is_called_so(saved):
    (saved.folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"is damaged: .* must hold weights, and it is a Git LFS pointer"):
        saved.load()


def test_a_class_by_its_name_or_number(model):
    assert (model.class_of("3"), model.class_of(3)) == (3, 3)
    with pytest.raises(ValueError, match="label must be the name or the number of a class, got 'three'"):
        model.class_of("three")
    unlabelled = Model(model.function, SPACE, replace(SPEC, labels=False))
    with pytest.raises(ValueError, match="label must be left out, got 3: cd was trained without labels"):
        unlabelled.class_of(3)


def test_samples_have_defaults_and_indices_the_last_word(model):
    first = model.sample()
    assert first.shape == (16, *SPACE.shape) and np.array_equal(first, model.sample(16, nfe=1, seed=0))
    assert np.array_equal(model.sample(3, 2), model.sample(nfe=2, indices=range(3)))
    assert np.array_equal(first[[4, 7]], model.sample(indices=[4, 7])) and len(first.to_pil()) == 16


def test_each_estimate_of_multistep_sampling_is_clipped_if_asked(model):
    seen = []
    with torch.no_grad():
        model.function.network.last_layer.mul_(100)
    model.function.register_forward_hook(lambda module, given, out: seen.append((given[0], out)))
    plain, clipped = (model.sample(4, 2, levels=[80.0, 0.1], clip=clip) for clip in (False, True))
    (_, first), (x, _), _, (x_clipped, _) = seen
    scale = model.space.scale
    assert first.abs().max() > scale, "nothing to clip"
    torch.testing.assert_close(x - x_clipped, first - first.clamp(-scale, scale), rtol=0, atol=1e-5)
    assert plain.shape == clipped.shape and (plain != clipped).any()
    with pytest.raises(ValueError, match="clip must be false"):
        replace(model, space=replace(model.space, kind="points", shape=(64,))).sample(2, 2, clip=True)
