"""Methods whose training has parts: in each the student of the last teaches, and everything else begins anew."""

import pytest
import torch

from fewstep.models.model import SavedModel
from fewstep.objectives import build_objective
from fewstep.training.job import Job
from fewstep.training.loop import Divergence, Training, train

pytestmark = pytest.mark.slow

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "dropout": 0.2}
TINY = {"images": 192, "batch_size": 16, "checkpoint_every": 1000, "progress_every": 64, "pictures_every": 1000}
PD = {"name": "progressive_distillation", "start_steps": 4}  # of 12 steps: 4 student steps from 0, 2 from 2, 1 from 7
OTHERS = [
    {"name": "consistency_training", "end_levels": 20},
    {"name": "improved_consistency_training", "start_levels": 4, "end_levels": 16},
    {"name": "easy_consistency_tuning", "num_stages": 4},
    {"name": "continuous_consistency", "from_data": True, "warmup": 0.6},
    {"name": "continuous_consistency", "warmup": 0.6},
    {"name": "flow_anchored_consistency"},
]


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory, small_job):
    job = small_job("teacher", digits, "denoising", NETWORK, TINY | {"images": 32})
    return SavedModel.open(train(job, tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def job_of(digits, teacher, small_job):
    """A student of the teacher: a function of its objective and of what else its recipe says."""

    def make(objective, **changes) -> Job:
        flow = build_objective(objective).preconditioner == "flow"
        network = {"network": NETWORK | {"second_time": True}, "start_new": ("embed.second",)} if flow else {}
        facts = {"start": "teacher", "network": NETWORK, "training": TINY, **network, **changes}
        return small_job("student", digits, objective, teacher=teacher, **facts)

    return make


def steps(training: Training, count: int) -> Training:
    for _ in range(count):
        training.make_step()
    return training


STOPS = [*((PD, step) for step in (1, 2, 4, 7)), *((other, 7) for other in OTHERS)]


@pytest.mark.parametrize(("objective", "stopped_at"), STOPS)
def test_a_run_stopped_within_or_between_its_stages_ends_in_the_same_bits(job_of, tmp_path, objective, stopped_at):
    job = job_of(objective)
    whole = steps(Training(job, tmp_path / "whole"), 9)
    broken = steps(Training(job, tmp_path / "broken"), stopped_at)
    broken.save()
    steps(broken, 1)  # lost
    state, again = whole.state(), steps(Training(job, tmp_path / "broken"), 9 - stopped_at).state()
    assert state.keys() == again.keys()
    modules = {"weighting"} if objective["name"].startswith("continuous") else set()
    assert (
        modules <= {k.split("/")[0] for k in state}
        and {f"optimizer.{m}/out.weight/exp_avg" for m in modules} <= state.keys()
    )
    assert all(torch.equal(state[k], again[k]) for k in state)


def test_a_student_becomes_the_teacher_of_the_next_stage(job_of, tmp_path):
    training = steps(Training(job_of(PD), tmp_path), 2)
    first = {k: v.clone() for k, v in training.networks.student.state_dict().items()}
    assert not any(k.startswith("teacher/") for k in training.state()), "the first teacher is a file"
    training.make_step()
    facts = training.report()
    teaching = training.networks.teacher.state_dict()
    assert all(torch.equal(teaching[k], first[k]) for k in first)
    assert all(torch.equal(training.state()[f"teacher/{k}"], first[k]) for k in first)
    assert not any(p.requires_grad for p in training.networks.teacher.parameters())
    assert not training.networks.teacher.training
    assert facts["learning_rate"] == pytest.approx(1e-3), "the rate decays within a stage"
    slots = training.state()
    assert all(v == 1 for k, v in slots.items() if k.startswith("optimizer.") and k.endswith("/step"))
    assert [training.objective.num_steps(training.progress_at(s)) for s in (0, 1, 2, 6, 7, 12)] == [4, 4, 2, 2, 1, 1]


def test_a_teacher_of_another_network_gives_way_to_the_student(job_of, tmp_path):
    job = job_of(PD, start="scratch", network=NETWORK | {"channels": 16})
    steps(Training(job, tmp_path), 3).save()
    steps(Training(job, tmp_path), 1)


def test_a_teacher_that_only_gives_its_weights_is_not_kept(job_of, tmp_path):
    assert Training(job_of(OTHERS[2]), tmp_path).networks.teacher is None


def test_a_student_may_have_what_its_teacher_lacks_where_the_recipe_says_so(job_of, teacher, tmp_path):
    facm = OTHERS[-1]
    with pytest.raises(ValueError, match=r"embed.second_hidden.bias is not the same \(4 parameters.*start_new"):
        Training(job_of(facm, start_new=()), tmp_path / "refused")
    job = job_of(facm)
    mine = Training(job, tmp_path / "new").networks.student.state_dict()
    its = teacher.load("cpu").function.state_dict()
    assert {n for n in mine if n not in its} and all(torch.equal(mine[n], its[n]) for n in its)
    with pytest.raises(ValueError, match=r"the teacher's has network.channels=8 \(not 4\)"):
        Training(job_of(PD, network=NETWORK | {"channels": 4}, start_new=("embed",)), tmp_path / "x")


def test_a_teacher_of_the_same_shapes_and_other_settings_gives_no_weights(job_of, tmp_path):
    """They would fit, and mean something else."""
    other = NETWORK | {"skip_scale": 0.5, "dropout": 0.0}
    with pytest.raises(ValueError, match=r"the teacher's has network.skip_scale=1.0 \(not 0.5\): .*start_new"):
        Training(job_of(PD, network=other), tmp_path / "refused")
    Training(job_of(PD, network=other, start_new=("skip_scale",)), tmp_path / "new")


def test_a_teacher_whose_time_is_another_gives_no_weights(job_of, tmp_path):
    with pytest.raises(ValueError, match=r"network.c_noise=log \(not angle\)"):
        Training(job_of(OTHERS[4], network=NETWORK | {"c_noise": "angle"}), tmp_path)


@pytest.mark.parametrize("objective", OTHERS[-3:])
def test_a_continuous_method_tells_its_divergence_and_at_which_levels(job_of, tmp_path, objective):
    """A derivative that is not finite reaches the loss, whatever is clamped or normalised on the way."""
    training = steps(Training(job_of(objective), tmp_path), 3)
    training.networks.student.network.embed.hidden.weight.data[0, 0] = float("inf")
    with pytest.raises(Divergence, match=r"diverged at step 3 .*at levels [\d.e-]+ to [\d.]+\."):
        training.make_step()
        training.report()
