"""The loop: a run that was stopped and resumed is the run that was not, to the bit."""

import json
from dataclasses import replace

import pytest
import torch

from fewstep.models.model import SavedModel
from fewstep.training.checkpoint import checkpoints
from fewstep.training.job import Job
from fewstep.training.loop import Divergence, Training, train

NETWORK = {"name": "unet", "channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "dropout": 0.2}
TINY = {"images": 160, "batch_size": 16, "checkpoint_every": 48, "progress_every": 16, "pictures_every": 80}


@pytest.fixture(scope="module")
def teacher_job(digits, small_job):
    """A function of the teacher's settings of training, and of its network."""

    def make(network=NETWORK, **training) -> Job:
        training = TINY | {"labels": True} | training
        return small_job("teacher", digits, "denoising", network, training, picture_nfe=(3,))

    return make


@pytest.fixture(scope="module")
def teacher(teacher_job, tmp_path_factory):
    return SavedModel.open(train(teacher_job(), tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def student_job(digits, teacher, small_job):
    """A function of the objective's constants, of the student's settings of training, and of what its recipe says."""

    def make(objective=None, recipe=None, **training) -> Job:
        method = {"name": "consistency_distillation"} | (objective or {})
        settings = TINY | {"labels": True, "optimizer": "radam"} | training
        facts = {"network": NETWORK, "start": "teacher"} | (recipe or {})
        return small_job("cd", digits, method, training=settings, teacher=teacher, **facts)

    return make


@pytest.mark.parametrize("objective", [{}, {"target_ema": 0.9}])
def test_a_resumed_run_ends_in_the_same_bits(student_job, tmp_path, objective):
    job = student_job(objective)
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


def test_micro_batches_change_a_step_by_rounding_only(teacher_job, tmp_path):
    still = NETWORK | {"dropout": 0.0}
    losses, gradients = [], []
    for micro in (0, 4):
        training = Training(teacher_job(still, micro_batch_size=micro), tmp_path / str(micro))
        losses.append(training._accumulate_gradients(training.progress_at(0))[0].item())
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
    assert teacher.spec.provenance.images == 160 and teacher.space == digits.space


def test_a_model_says_how_many_trained_it(teacher):
    more = teacher.spec.provenance.more
    assert (more["workers"], more["threads"]) == (1, torch.get_num_threads())


def test_a_finished_run_is_not_trained_again(teacher_job, teacher):
    assert train(teacher_job(), teacher.folder.parent) == teacher.folder


def test_divergence_names_step_recipe_and_level_and_keeps_the_last_good_checkpoint(student_job, tmp_path):
    training = Training(student_job(), tmp_path)
    training.make_step()
    training.save()
    before = {k: v.clone() for k, v in training.state().items()}
    next(training.networks.teacher.parameters()).data.fill_(float("nan"))
    with pytest.raises(
        Divergence,
        match=r"cd diverged at step 1 \(16 images\).*at levels .*last good checkpoint stays \(step_000000001\)",
    ):
        training.make_step()
        training.report()
    after = training.state()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["step_000000001"]


@pytest.mark.parametrize("spoiled", ["gradient", "loss"])
def test_steps_after_a_divergence_change_nothing_and_the_first_is_named(student_job, tmp_path, spoiled):
    training = Training(student_job({"target_ema": 0.9}), tmp_path)
    training.make_step()
    before = {k: v.clone() for k, v in training.state().items()}
    gradients = training._accumulate_gradients

    def broken(progress):
        loss, seen = gradients(progress)
        if spoiled == "gradient":
            next(training.networks.student.parameters()).grad.view(-1)[0] = float("nan")
        return (loss * float("inf") if spoiled == "loss" else loss), seen

    training._accumulate_gradients = broken
    training.make_step()
    training._accumulate_gradients = gradients
    for _ in range(3):
        training.make_step()
    assert all(torch.equal(before[k], after) for k, after in training.state().items())
    with pytest.raises(Divergence, match=r"diverged at step 1 \(16 images\)"):
        training.report()


@pytest.mark.parametrize("micro", [0, 4])
def test_a_single_sample_that_diverges_is_blamed_by_its_level(student_job, tmp_path, micro):
    training = Training(student_job({"target_ema": 0.9}, micro_batch_size=micro), tmp_path)
    batches, levels = training.batches, []

    def spoiled(step, rows, device):
        batch = batches(step, rows, device)
        batch.x0[[row in (5, 9) for row in range(rows.start, rows.stop)]] = float("nan")
        return batch

    training.batches = spoiled
    training.networks.student.c_noise.register_forward_pre_hook(lambda _, given: levels.extend(given[0].tolist()))
    with pytest.raises(Divergence) as caught:
        training.make_step()
        training.report()
    assert len(set(levels)) > 2 and f"at level {levels[5]:g}. There was no checkpoint yet." in str(caught.value)


def test_a_jump_that_diverges_is_blamed_by_its_two_levels(student_job, tmp_path):
    objective = {"name": "consistency_trajectory", "num_levels": 8, "solver_steps": 3, "denoising": 0.0}
    recipe = {"network": NETWORK | {"second_time": True}, "start_new": ("embed.second",)}
    training, told = Training(student_job(objective, recipe), tmp_path), []
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
        training.report()
    ((end, start),) = told
    assert f"at levels {end[5]:g}, {start[5]:g}. There was" in str(caught.value)


@pytest.mark.parametrize("spoiled", ["jump", "score"])
def test_the_term_of_a_trajectory_that_diverges_is_blamed(student_job, tmp_path, monkeypatch, spoiled):
    """Jump and denoising term have levels of their own, and a weight that spreads what is not finite over the batch."""
    recipe = {"network": NETWORK | {"second_time": True}, "preconditioning": {"name": "trajectory"}}
    objective = {"name": "consistency_trajectory", "num_levels": 8, "solver_steps": 3}
    training = Training(student_job(objective, recipe | {"start_new": ("embed.second",)}), tmp_path)
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
        training.report()
    named = told[spoiled]
    assert f"at level{'s' * (len(named) > 1)} {', '.join(named)}. There was" in str(caught.value)
    assert told["jump"] != told["score"]


def test_where_every_loss_is_finite_and_a_gradient_is_not_the_range_of_all_levels_is_named(student_job, tmp_path):
    training = Training(student_job({"target_ema": 0.9}, micro_batch_size=4), tmp_path)
    levels = []
    training.networks.student.c_noise.register_forward_pre_hook(lambda _, given: levels.extend(given[0].tolist()))
    next(training.networks.student.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(Divergence) as caught:
        training.make_step()
        training.report()
    assert f"at levels {min(levels):g} to {max(levels):g}. There was no" in str(caught.value)


def test_a_checkpoint_of_another_configuration_is_refused(student_job, tmp_path):
    first = Training(student_job(), tmp_path)
    first.save()
    with pytest.raises(ValueError, match=r"another configuration \(training differ\).*fresh=true"):
        Training(student_job(learning_rate=0.5), tmp_path)


def test_a_student_starts_from_its_teachers_weights(student_job, teacher, tmp_path):
    training = Training(student_job(), tmp_path)
    its_own = teacher.load("cpu").function.parameters()
    for mine, its in zip(training.networks.student.parameters(), its_own, strict=True):
        assert torch.equal(mine, its)
    recipe = replace(training.job.recipe, network=NETWORK | {"channels": 8})
    with pytest.raises(ValueError, match=r"start from its teacher.*network"):
        Training(replace(training.job, recipe=recipe), tmp_path / "other")


def test_where_the_target_is_the_student_no_copy_is_kept(student_job, tmp_path):
    training = Training(student_job(), tmp_path)
    assert training.networks.target is training.networks.student


@pytest.mark.parametrize(
    ("precision", "used"), [("auto", (True, False)), ("bf16", (True, True)), ("fp32", (False,) * 2)]
)
def test_on_a_gpu_auto_is_bf16_for_methods_whose_gradient_bears_it(
    teacher_job, student_job, tmp_path, monkeypatch, precision, used
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    found = []
    for name, job in (("teacher", teacher_job), ("student", student_job)):
        training = Training(job(precision=precision), tmp_path / name)
        training.worker = replace(training.worker, device=torch.device("cuda"))
        found.append(training._uses_bf16())
    assert tuple(found) == used
