"""Two processes that train together, without Ray: their gradients are those of one, for every way to make a loss."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from fewstep.models.model import SavedModel
from fewstep.objectives import build_objective
from fewstep.training.job import Job
from fewstep.training.loop import train

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [8]}
TINY = {"images": 64, "batch_size": 16, "optimizer": "radam", "labels": True}
EDM2 = {"name": "edm2", "channels": 8, "channel_mult": [1], "num_blocks": 1, "head_channels": 8}
OBJECTIVES = {
    "edm2": {"name": "denoising", "log_variance": True},
    "cd": {"name": "consistency_distillation"},
    "sct": {"name": "continuous_consistency", "from_data": True, "warmup": 0.5},
    "scd": {"name": "continuous_consistency", "warmup": 0.5},
    "facm": {"name": "flow_anchored_consistency", "guidance": 2.0},
    "meanflow": {"name": "mean_flow", "from_data": True, "omega": 0.6, "kappa": 0.3, "flow_share": 0.3},
    "shortcut": {"name": "shortcut", "target_ema": 0.9},
    "ctm": {"name": "consistency_trajectory", "solver_steps": 2, "gan": True, "gan_start": 0.5},  # on in the third step
    "tcm": {"name": "truncated_consistency"},
    "imm": {"name": "moment_matching", "halvings": 4},
    "cmt": {"name": "consistency_mid_training", "points": 4},
    "dmd": {"name": "distribution_matching", "student_every": 1, "gan": True},
}
AROUND = ("cd", "scd", "ctm")
START = {"start": "teacher", "start_new": ("embed.second",)}
IN_PIECES = [name for name in OBJECTIVES if not build_objective(OBJECTIVES[name]).needs_whole_batch]
PROCESS = """
import pickle, sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from fewstep.training.loop import Training, Worker

folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
if size > 1:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)


def counted(sent, bucket):
    sent.append(bucket.buffer().numel())
    return allreduce_hook(None, bucket)


for way in ("within", "around", "pieces"):
    for name, job in pickle.loads((folder / way).read_bytes()).items():
        training, sent = Training(job, folder / "run", Worker(rank, size)), []
        if size > 1:
            training.forward.register_comm_hook(sent, counted)
        for _ in range(2):
            training.make_step()
        if way == "around":
            training.forward = training.step_module  # past DistributedDataParallel's forward
        sent.clear()
        training._accumulate_gradients(training.progress_at(2))
        gradients = {n: p.grad for n, p in training.step_module.trained.named_parameters() if p.grad is not None}
        save_file(gradients, folder / f"{way}-{name}-{rank}of{size}.safetensors")
        known = sum(p.numel() for p in training.step_module.parameters() if p.requires_grad)
        (folder / f"{way}-{name}-{rank}of{size}.sent").write_text(str(sum(sent) / known))
"""


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory, small_job):
    """A folder with the gradients of each way's and recipe's third step, by every worker of one and of two."""
    folder = tmp_path_factory.mktemp("workers")
    first = small_job("teacher", digits, "denoising", NETWORK, TINY | {"images": 32})
    teacher = SavedModel.open(train(first, folder / "teacher"))
    ect = {"name": "ect", "objective": {"name": "easy_consistency_tuning"}, "preconditioning": {"name": "edm"}}
    starts: dict[str, dict] = {name: {} if name == "edm2" else START for name in OBJECTIVES}
    starts["tcm"] = START | {"earlier": {**ect, "network": method_of("tcm")[1], "training": TINY, **START}}
    jobs = {name: small_job(name, digits, *method_of(name), TINY, teacher, **starts[name]) for name in OBJECTIVES}
    pieces = {name: in_pieces(jobs[name]) for name in IN_PIECES}
    for way, its in (("within", jobs), ("around", {name: jobs[name] for name in AROUND}), ("pieces", pieces)):
        (folder / way).write_bytes(pickle.dumps(its))
    command = [sys.executable, "-c", PROCESS, str(folder)]
    for size in (1, 2):
        processes = [subprocess.Popen([*command, str(rank), str(size)]) for rank in range(size)]
        assert [process.wait(timeout=300) for process in processes] == [0] * size
    return folder


@pytest.fixture(scope="module")
def gradients(trained):
    """A function of (way, recipe, rank, size): the gradient of the third step as one vector, and its names."""

    def of(way, name, rank, size):
        found = load_file(trained / f"{way}-{name}-{rank}of{size}.safetensors")
        return torch.cat([found[key].flatten() for key in sorted(found)]), sorted(found)

    return of


def method_of(name: str) -> tuple[dict, dict]:
    """Its objective and its network."""
    has_second = build_objective(OBJECTIVES[name]).second_time
    return OBJECTIVES[name], EDM2 if name == "edm2" else NETWORK | {"second_time": has_second}


def in_pieces(job: Job) -> Job:
    training = replace(job.recipe.training, micro_batch_size=4)
    return replace(job, recipe=replace(job.recipe, training=training))


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradients_of_two_workers_are_those_of_one(name, gradients):
    (one, names), *twos = gradients("within", name, 0, 1), *(gradients("within", name, rank, 2) for rank in (0, 1))
    assert any(n.startswith("student.") for n in names) and ("weighting.out.weight" in names) == name.startswith("sc")
    for two, its in twos:
        assert its == names and (two - one).norm() < 1e-3 * one.norm()
    assert torch.equal(twos[0][0], twos[1][0])


@pytest.mark.slow
@pytest.mark.parametrize("name", AROUND)
def test_past_ddps_forward_each_worker_would_keep_its_own(name, gradients):
    """What the test above is for: nothing else would tell."""
    one, mine, others = (gradients("around", name, *place)[0] for place in ((0, 1), (0, 2), (1, 2)))
    assert (mine - one).norm() > 0.01 * one.norm() and (mine - others).norm() > 0.01 * one.norm()
    torch.testing.assert_close((mine + others) / 2, one, rtol=1e-2, atol=1e-3 * float(one.norm()))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_PIECES)
def test_two_workers_that_take_their_share_in_pieces_meet_once_a_step(name, gradients, trained):
    """Without no_sync every piece would be sent; with it for the last one too, nothing would."""
    one, *twos = (gradients(*place)[0] for place in (("within", name, 0, 1), *(("pieces", name, r, 2) for r in (0, 1))))
    assert all((two - one).norm() < 1e-3 * one.norm() for two in twos) and torch.equal(*twos)
    assert [float((trained / f"pieces-{name}-{rank}of2.sent").read_text()) for rank in (0, 1)] == [1, 1]
