"""Averages by power functions are those of EDM2's phema, to 1e-5 and better."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewstep.training.ema import Average, frozen_copy
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.power_average import combination, correlation, decay_at, exponent_of, std_of
from fewstep.training.snapshots import KeptAverages

FACTS = json.loads((Path(__file__).parents[1] / "reference" / "power_function_ema.json").read_text())


class Weights(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def put(self, values):
        self.values.data.copy_(torch.tensor(values, dtype=torch.float64))


def test_exponents_and_deviations():
    given, back = FACTS["std_to_exponent"], FACTS["exponent_to_std"]
    assert [exponent_of(std) for std in given["std"]] == pytest.approx(given["exponent"], rel=1e-12)
    assert [std_of(exponent) for exponent in back["exponent"]] == pytest.approx(back["std"], rel=1e-12)


def test_decays():
    for case in FACTS["beta"]:
        assert decay_at(case["std"], case["t_next"], case["t_delta"]) == pytest.approx(case["beta"], abs=1e-12)


def test_correlations():
    for case in FACTS["correlation"]:
        profiles = [(case[f"{one}_offset"], case[f"{one}_std"]) for one in "ab"]
        assert correlation(*profiles) == pytest.approx(case["value"], rel=1e-10)


@pytest.mark.parametrize("case", FACTS["posthoc"], ids=lambda case: str(len(case["in_offset"])))
def test_coefficients(case):
    kept = list(zip(case["in_offset"], case["in_std"], strict=True))
    for column, wanted in enumerate(zip(case["out_offset"], case["out_std"], strict=True)):
        coefficients, error = combination(kept, wanted)
        np.testing.assert_allclose(coefficients, np.array(case["coefficients"])[:, column], rtol=0, atol=1e-5)
        assert (error < 1e-6) == (wanted in kept)


def test_a_known_sequence_and_its_reconstruction(tmp_path):
    facts = FACTS["tracking"]
    wanted, batch = facts["reconstruction"], facts["batch"]

    def weights_after(k):
        return [k / facts["steps"], np.sin(k / 9), (-1.0) ** k]

    module = Weights(weights_after(0))
    averages, found = KeptAverages(module, facts["stds"], tmp_path), {}
    for k in range(1, facts["steps"] + 1):
        module.put(weights_after(k))
        averages.update(module, k * batch, batch)
        found[k] = [each.values.tolist() for each in averages.modules.values()]
    for snapshot in facts["snapshots"]:
        np.testing.assert_allclose(found[snapshot["step"]], snapshot["ema"], rtol=0, atol=1e-12)
    kept = [(snapshot["nimg"], std) for snapshot in facts["snapshots"] for std in facts["stds"]]
    values = np.concatenate([found[snapshot["step"]] for snapshot in facts["snapshots"]])
    for std, value in zip(wanted["out_std"], wanted["value"], strict=True):
        coefficients, _ = combination(kept, (wanted["out_offset"], std))
        np.testing.assert_allclose(coefficients @ values, value, rtol=0, atol=1e-5)


def test_the_exponential_average_is_edms():
    facts = FACTS["traditional"]
    settings = TrainingSettings(
        batch_size=facts["batch"], ema_halflife=facts["halflife_Mimg"] * 1e6, ema_rampup=facts["rampup_ratio"]
    )
    module = Weights(facts["start"])
    mean = frozen_copy(module)
    average = Average(mean)
    for step, (theta, expected) in enumerate(zip(facts["theta"], facts["ema"], strict=True), 1):
        module.put(theta)
        average.update(module, settings.ema_decay_at(step * settings.batch_size))
        np.testing.assert_allclose(mean.values.tolist(), expected, rtol=0, atol=1e-12)
