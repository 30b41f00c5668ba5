"""The memory of a training by its formula, and the table that says what fits."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewstep.config.parameters import Parameters
from fewstep.launch import LaunchSettings
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.support.errors import InvalidInput
from fewstep.training import footprint
from fewstep.training.footprint import bytes_a_weight, state_bytes
from fewstep.training.loop import Training
from fewstep.training.shares import check_same_passes

ROOT = Path(__file__).parents[2]
NETWORK = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
CTM = {"name": "consistency_trajectory", "gan": True, "gan_start": 0.0, "solver_steps": 1}


def parameters(recipe: str) -> Parameters:
    return RecipeConfigLoader(str(ROOT / "conf"), runtime_params={"recipe": recipe}, **CONFIG_LOADER_ARGS).parameters


def test_the_formula_counts_what_a_training_holds(digits, small_job, draw_model, tmp_path):
    facts = {"name": "teacher", "network": NETWORK, "preconditioning": {"name": "edm"}, "data_sha256": digits.sha256}
    teacher = draw_model(facts, digits.space).save(tmp_path / "teacher")
    numbers = {"images": 64, "batch_size": 2, "averages": [0.1]}
    job = small_job("ctm", digits, CTM, NETWORK | {"second_time": True}, numbers, teacher)
    training = Training(job, tmp_path / "run")
    training.make_step()
    trained = sum(p.nbytes for p in training.step_module.trained.parameters())  # their gradients
    frozen = sum(p.nbytes for p in training.networks.teacher.parameters())
    assert state_bytes(job) == pytest.approx(
        trained + frozen + sum(t.nbytes for t in training.state().values()), rel=0.01
    )


@pytest.mark.slow
def test_the_table_in_the_docs_is_that_of_the_formula():
    """Sizes whose state takes 60 % of the memory."""
    lines = re.findall(r"^\| (\d\d) \| (.*?) \|(.*)\|$", (ROOT / "docs" / "scaling.md").read_text(), re.M)
    found = {name: int(size) for size, names, _ in lines for name in re.findall("`(.*?)`", names)}
    recipes = sorted(p.stem for p in (ROOT / "conf" / "base" / "parameters" / "recipes").glob("*.yml"))
    assert found == {name: bytes_a_weight(parameters(name).student) for name in recipes}
    assert bytes_a_weight(parameters("ect").teacher) == 20
    for size, _, columns in lines:
        fitting = [float(cell.replace(",", "")) for cell in columns.split("|")]
        assert fitting == pytest.approx([0.6 * 1000 * gb / int(size) for gb in (24, 80, 141, 8 * 80)], abs=0.6)


def test_weights_are_cut_where_they_do_not_fit_or_where_it_is_said(monkeypatch):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(footprint, "state_bytes", lambda job: job)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("It", (), {"total_memory": 2000}))
    auto = LaunchSettings(workers=2)
    assert [auto.worker(needed, gpu, 0, 2).shards for needed in (1000, 1900)] == [False, True]
    assert not auto.worker(1900, cpu, 0, 2).shards and not auto.worker(1900, gpu, 0, 1).shards
    assert replace(auto, shard="full").worker(1, cpu, 1, 2).shards
    assert not replace(auto, shard="none").worker(1900, gpu, 0, 2).shards
    with pytest.raises(InvalidInput, match="There is no shard 'fall'. Did you mean 'full'"):
        LaunchSettings(shard="fall")
    with pytest.raises(InvalidInput, match=r"launch.compile must be false or auto with launch.shard full"):
        LaunchSettings(shard="full", compile=True)


def test_workers_that_would_wait_for_one_another_are_refused():
    objective = parameters("meanflow").student.objective
    check_same_passes(objective, 4)
    with pytest.raises(
        InvalidInput, match="at least 4 samples at once, got 3: mean_flow has .* for 0.25 of the samples"
    ):
        check_same_passes(objective, 3)
    check_same_passes(parameters("ect").student.objective, 1)
