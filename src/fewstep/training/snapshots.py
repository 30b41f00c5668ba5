"""Averages that are kept during a training, and any other one made from their snapshots after it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.models.model import Model, SavedModel
from fewstep.networks.sharding import whole_tensors
from fewstep.support.errors import InvalidInput
from fewstep.training.checkpoint import Checkpoints, Facts, facts_of_all, newest_facts, part_of, read_checkpoint
from fewstep.training.ema import Average, frozen_copy
from fewstep.training.power_average import Profile, combination, decay_at

SNAPSHOTS = "snapshots"
FARTHEST = 0.1  # from the wanted profile, relative: less is seen in no score
TRIED = [round(0.005 * number, 3) for number in range(1, 58)]  # deviations that a refusal looks among
log = logging.getLogger(__name__)


class KeptAverages:
    """Power-function averages of a module's weights, one of each deviation, and their snapshots in a run's folder.

    modules: {name: the average}, part of a checkpoint.
    """

    def __init__(self, module: nn.Module, stds: Sequence[float], run_dir: Path):
        self.stds = stds
        self.modules = {name_of(std): frozen_copy(module).eval() for std in stds}
        self.snapshots = Checkpoints(run_dir / SNAPSHOTS, kept=0)
        self._averages = [Average(each) for each in self.modules.values()]

    def update(self, module: nn.Module, images: int, batch_size: int, skip: Tensor | None = None) -> None:
        """After the step that ends when `images` of the average's time have been seen."""
        for std, average in zip(self.stds, self._averages, strict=True):
            average.update(module, decay_at(std, images, batch_size), skip)

    def weights(self) -> dict[str, Tensor]:
        """{average/parameter: whole tensor}."""
        found = {name: whole_tensors(dict(each.named_parameters()), each) for name, each in self.modules.items()}
        return {f"{name}/{key}": weight for name, its in found.items() for key, weight in its.items()}

    def save(self, step: int, weights: dict[str, Tensor], facts: Facts) -> None:
        """Begin to write a snapshot. facts: the job, the images after which the averages began, and those since."""
        self.snapshots.save(step, weights, {**facts, "stds": list(self.stds)})


def name_of(std: float) -> str:
    """Of an average among the parts of a checkpoint."""
    return f"average_{std:g}"


@dataclass(frozen=True)
class Snapshot:
    """One average at one time. images: seen since it began."""

    path: Path
    images: int
    std: float

    @property
    def profile(self) -> Profile:
        return self.images, self.std


def rebuilt_average(run_dir: Path, std: float) -> tuple[Model, dict[str, Any]]:
    """The finished model of a training with the average of another length, and facts about it.

    Raises ValueError where there is no finished training, or its snapshots are another's, damaged or too few.
    """
    saved = SavedModel.open(run_dir / "model")
    snapshots, began = read_snapshots(run_dir)
    end = max(each.images for each in snapshots)
    if began + end != (images := saved.spec.provenance.images):
        raise InvalidInput(
            f"the last snapshot in {run_dir / SNAPSHOTS} was taken at {began + end:,} images, and the training ended "
            f"at {images:,}: without one of its end no average can be made."
        )
    coefficients, error = combination([each.profile for each in snapshots], (end, std))
    if error > FARTHEST:
        raise InvalidInput(_too_few(std, snapshots, error))
    model = saved.load("cpu")
    weights = _combined(snapshots, coefficients.tolist(), {n: p.shape for n, p in model.function.named_parameters()})
    model.function.load_state_dict(weights, strict=False)
    facts = {"std": std, "snapshots": len(snapshots), "error": round(error, 6)}
    provenance = saved.spec.provenance
    provenance = replace(provenance, more={**provenance.more, "average": facts})
    return Model(model.function, saved.space, replace(saved.spec, provenance=provenance)), facts


def read_snapshots(run_dir: Path) -> tuple[list[Snapshot], int]:
    """The snapshots of a training, of its last stage if it has stages; and the images after which that began."""
    found = facts_of_all(run_dir / SNAPSHOTS)
    if not found:
        raise InvalidInput(
            f"{run_dir} has no snapshots of averages: train with training.averages=[0.05,0.1], which keeps them."
        )
    _check_one_training(run_dir, [facts["job"] for facts in found.values()])
    began = max(facts["began"] for facts in found.values())
    last = {path: facts for path, facts in found.items() if facts["began"] == began}
    return [Snapshot(path, facts["images"], std) for path, facts in last.items() for std in facts["stds"]], began


def _check_one_training(run_dir: Path, jobs: list[dict[str, Any]]) -> None:
    """Raise ValueError unless all jobs are that of the newest checkpoint, whatever the numerics."""
    newest = newest_facts(run_dir / "checkpoints")
    jobs = [{**job, "numerics": None} for job in [*jobs, *([newest["job"]] if newest else [])]]
    for job in jobs[:-1]:
        if job != jobs[-1]:
            differing = sorted(key for key in job.keys() | jobs[-1].keys() if job.get(key) != jobs[-1].get(key))
            raise InvalidInput(
                f"the snapshots in {run_dir / SNAPSHOTS} are not all of this training ({', '.join(differing)} differ): "
                "an average can be made from the snapshots of one training only."
            )


def _too_few(std: float, snapshots: list[Snapshot], error: float) -> str:
    kept, end = [each.profile for each in snapshots], max(each.images for each in snapshots)
    possible = [each for each in TRIED if combination(kept, (end, each))[1] <= FARTHEST]
    range_ = f"between {possible[0]:g} and {possible[-1]:g}" if possible else "one that was kept"
    stds = ", ".join(f"{each:g}" for each in sorted({each.std for each in snapshots}))
    return (
        f"std must be {range_}, got {std:g}: from {len(snapshots)} snapshots (of the averages {stds}) it comes out "
        f"{error:.0%} wrong, and at most {FARTHEST:.0%} is allowed. A training with more training.snapshots, or with "
        "training.averages nearer to it, allows more."
    )


def _combined(snapshots: list[Snapshot], coefficients: list[float], shapes: dict[str, Any]) -> dict[str, Tensor]:
    """The weighted sum in float64, with one snapshot in memory at a time."""
    total = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    for path in dict.fromkeys(each.path for each in snapshots):
        tensors, _ = read_checkpoint(path)
        for each, coefficient in zip(snapshots, coefficients, strict=True):
            if each.path == path:
                for name, weight in part_of(tensors, name_of(each.std)).items():
                    total[name].add_(weight.double(), alpha=coefficient)
    return {name: weight.float() for name, weight in total.items()}
