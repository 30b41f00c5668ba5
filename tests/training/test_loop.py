"""The loop: a run that was stopped and resumed is the run that was not, to the bit."""

import json
from dataclasses import replace

import pytest
import torch

from fewstep.models.model import Model
from fewstep.training.checkpoint import checkpoints
from fewstep.training.job import Job
from fewstep.training.loop import Divergence, Training, train

NETWORK = {"name": "unet", "channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "dropout": 0.2}
TINY = {"images": 160, "batch_size": 16, "checkpoint_every": 48, "progress_every": 16, "pictures_every": 80}


def teacher_job(store, **training) -> Job:
    training = TINY | {"labels": True} | training
    return Job(
        "teacher",
        str(store.folder),
        store.sha256,
        NETWORK,
        {"name": "edm"},
        {"name": "denoising"},
        training,
        picture_nfe=(3,),
    )


@pytest.fixture(scope="session")
def teacher(digits, tmp_path_factory):
    return Model.load(train(teacher_job(digits), tmp_path_factory.mktemp("teacher")))


def student_job(store, teacher, objective=None, **training) -> Job:
    return Job(
        "cd",
        str(store.folder),
        store.sha256,
        NETWORK,
        {"name": "consistency"},
        {"name": "consistency_distillation"} | (objective or {}),
        TINY | {"labels": True, "optimizer": "radam"} | training,
        teacher=str(teacher.folder),
        teacher_sha256=teacher.sha256,
        start="teacher",
    )


@pytest.mark.parametrize("objective", [{}, {"target_ema": 0.9}])
def test_a_resumed_run_ends_in_the_same_bits(digits, teacher, tmp_path, objective):
    job = student_job(digits, teacher, objective)
    whole = Training(job, tmp_path / "whole")
    for _ in range(7):
        whole.make_step()
    broken = Training(job, tmp_path / "broken")
    for _ in range(4):
        broken.make_step()
    broken.save()
    broken.make_step()  # lost
    resumed = Training(job, tmp_path / "broken")
    assert resumed.step == 4
    for _ in range(3):
        resumed.make_step()
    state, again = whole.state(), resumed.state()
    assert state.keys() == again.keys() and any(k.startswith("optimizer.student/") for k in state)
    assert ("target/network.stem.weight" in state) == bool(objective) or objective
    assert all(torch.equal(state[k], again[k]) for k in state)


def test_micro_batches_change_a_step_by_rounding_only(digits, tmp_path):
    still = NETWORK | {"dropout": 0.0}
    losses, gradients = [], []
    for micro in (0, 4):
        job = teacher_job(digits, micro_batch_size=micro)
        training = Training(Job(**{**vars(job), "network": still}), tmp_path / str(micro))
        losses.append(training._accumulate_gradients(training.progress_at(0)).item())
        gradients.append(
            torch.cat([p.grad.flatten() for p in training.networks.student.parameters() if p.grad is not None])
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_a_training_writes_progress_pictures_checkpoints_and_a_model(digits, teacher):
    run = teacher.folder.parent
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == list(range(16, 176, 16))
    assert {"loss", "grad_norm", "learning_rate", "images_per_second", "seconds", "total_images"} <= lines[0].keys()
    assert sorted(p.name for p in (run / "pictures").iterdir()) == [
        "samples_nfe3_000000080.png",
        "samples_nfe3_000000160.png",
    ]
    assert [p.name for p in checkpoints(run / "checkpoints")] == ["step_000000009", "step_000000010"]
    assert teacher.spec["provenance"]["images"] == 160 and teacher.space == digits.space


def test_a_finished_run_is_not_trained_again(digits, teacher):
    assert train(teacher_job(digits), teacher.folder.parent) == teacher.folder


def test_divergence_names_step_recipe_and_level_and_keeps_the_last_good_checkpoint(digits, teacher, tmp_path):
    training = Training(student_job(digits, teacher), tmp_path)
    training.make_step()
    training.save()
    before = {k: v.clone() for k, v in training.state().items()}
    next(training.networks.teacher.parameters()).data.fill_(float("nan"))
    with pytest.raises(
        Divergence,
        match=r"cd diverged at step 1 \(16 images\).*at levels .*last good checkpoint stays \(step_000000001\)",
    ):
        training.make_step()
    after = training.state()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["step_000000001"]


@pytest.mark.parametrize("micro", [0, 4])
def test_a_single_sample_that_diverges_is_blamed_by_its_level(digits, teacher, tmp_path, micro):
    training = Training(student_job(digits, teacher, {"target_ema": 0.9}, micro_batch_size=micro), tmp_path)
    batches, levels = training.batches, []

    def spoiled(step, rows, device):
        batch = batches(step, rows, device)
        batch.x0[[row in (5, 9) for row in range(rows.start, rows.stop)]] = float("nan")
        return batch

    training.batches = spoiled
    training.networks.student.c_noise.register_forward_pre_hook(lambda _, given: levels.extend(given[0].tolist()))
    with pytest.raises(Divergence) as caught:
        training.make_step()
    assert len(set(levels)) > 2 and f"at level {levels[5]:g}. There was no checkpoint yet." in str(caught.value)


def test_a_jump_that_diverges_is_blamed_by_its_two_levels(digits, teacher, tmp_path):
    objective = {"name": "consistency_trajectory", "num_levels": 8, "solver_steps": 3, "denoising": 0.0}
    facts = {
        "network": NETWORK | {"second_time": True},
        "preconditioning": {"name": "trajectory"},
        "objective": objective,
    }
    job = replace(student_job(digits, teacher), start_new=("embed.second",), **facts)
    training, told = Training(job, tmp_path), []
    batches = training.batches

    def spoiled(step, rows, device):
        batch = batches(step, rows, device)
        batch.x0[5] = float("nan")
        return batch

    training.batches = spoiled
    student = training.networks.student
    student.register_forward_pre_hook(
        lambda _, given, named: told.append((named["sigma_next"], given[1])), with_kwargs=True
    )
    with pytest.raises(Divergence) as caught:
        training.make_step()
    ((end, start),) = told
    assert f"at levels {end[5]:g}, {start[5]:g}. There was" in str(caught.value)


@pytest.mark.parametrize("spoiled", ["jump", "score"])
def test_the_term_of_a_trajectory_that_diverges_is_blamed(digits, teacher, tmp_path, monkeypatch, spoiled):
    """Jump and denoising term have levels of their own, and a weight that spreads what is not finite over the batch."""
    facts = {
        "network": NETWORK | {"second_time": True},
        "preconditioning": {"name": "trajectory"},
        "objective": {"name": "consistency_trajectory", "num_levels": 8, "solver_steps": 3},
    }
    training = Training(replace(student_job(digits, teacher), start_new=("embed.second",), **facts), tmp_path)
    student, told = training.networks.student, {}
    denoiser = student.denoiser

    def spoil(term, output, *levels):
        told[term] = list(dict.fromkeys(f"{level[5]:g}" for level in levels))
        factor = torch.ones(len(output), 1, 1, 1)
        factor[5] = torch.nan if term == spoiled else 1
        return output * factor

    student.register_forward_hook(
        lambda _, given, named, output: None if told else spoil("jump", output, named["sigma_next"], given[1]),
        with_kwargs=True,
    )  # the jump comes first, and the denoiser is a jump of no length
    monkeypatch.setattr(student, "denoiser", lambda x, s, labels: spoil("score", denoiser(x, s, labels), s))
    with pytest.raises(Divergence) as caught:
        training.make_step()
    named = told[spoiled]
    assert f"at level{'s' * (len(named) > 1)} {', '.join(named)}. There was" in str(caught.value)
    assert told["jump"] != told["score"]


def test_where_every_loss_is_finite_and_a_gradient_is_not_the_range_of_all_levels_is_named(digits, teacher, tmp_path):
    training = Training(student_job(digits, teacher, {"target_ema": 0.9}, micro_batch_size=4), tmp_path)
    levels = []
    training.networks.student.c_noise.register_forward_pre_hook(lambda _, given: levels.extend(given[0].tolist()))
    next(training.networks.student.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(Divergence) as caught:
        training.make_step()
    assert f"at levels {min(levels):g} to {max(levels):g}. There was no" in str(caught.value)


def test_a_checkpoint_of_another_configuration_is_refused(digits, teacher, tmp_path):
    first = Training(student_job(digits, teacher), tmp_path)
    first.save()
    with pytest.raises(ValueError, match=r"another configuration \(training differ\).*fresh=true"):
        Training(student_job(digits, teacher, learning_rate=0.5), tmp_path)


def test_a_student_starts_from_its_teachers_weights(digits, teacher, tmp_path):
    training = Training(student_job(digits, teacher), tmp_path)
    for mine, its in zip(training.networks.student.parameters(), teacher.function.parameters(), strict=True):
        assert torch.equal(mine, its)
    other = Job(**{**vars(student_job(digits, teacher)), "network": NETWORK | {"channels": 8}})
    with pytest.raises(ValueError, match=r"start from its teacher.*network"):
        Training(other, tmp_path / "other")


def test_where_the_target_is_the_student_no_copy_is_kept(digits, teacher, tmp_path):
    training = Training(student_job(digits, teacher), tmp_path)
    assert training.networks.target is training.networks.student
