"""What benchmarks/gpu.py works with: the recipes of conf without Kedro, random images, random teachers."""

import gc
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from fewstep.config.merging import chosen, merged, overlaid
from fewstep.data import DataSpace
from fewstep.data.store import ArrayStore, write_store
from fewstep.models.model import SavedModel
from fewstep.networks import build_network
from fewstep.step_cost import untrained
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
LITTLE = {"channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "middle_attention": False}


def read_folder(folder: Path) -> dict[str, Any]:
    """The parameters of an environment, with the names that they take from globals left as they are."""
    found: dict[str, Any] = {}
    for file in sorted((folder / "parameters").glob("**/*.yml")):
        found = merged(found, yaml.safe_load(file.read_text()) or {})
    return found


def read_recipes(env: str, network: dict[str, Any], lpips: str) -> dict[str, Recipe]:
    """Every recipe there is in conf, the teacher's first, by its name.

    network: what theirs have in place of env's. lpips: the distance in place of that, whose weights are not everywhere.
    """
    config = read_folder(ROOT / "conf/base")
    if env != "base":
        config = overlaid(config, read_folder(ROOT / "conf" / env))
    found = chosen({**config, "dataset": env, "recipe": next(iter(config["recipes"]))})
    sections = {"teacher": found["teacher"], **dict(sorted(found["students"].items()))}
    named = {name: {**section, "name": name} for name, section in sections.items()}
    return {name: Recipe.from_json(_changed(section, network, lpips)) for name, section in named.items()}


def _changed(facts: dict[str, Any], network: dict[str, Any], lpips: str) -> dict[str, Any]:
    """A recipe with another network and distance, and so the one before it."""
    objective = facts["objective"]
    if objective.get("distance") == "lpips":
        objective = objective | {"distance": lpips}
    known = {name: value for name, value in facts.items() if name != "levels"}
    if facts.get("earlier"):
        known["earlier"] = _changed(facts["earlier"], network, lpips)
    return known | {"objective": objective, "network": facts["network"] | network}


@dataclass(frozen=True)
class Setting:
    """The machine and the sizes. tiny: little networks and batches, to see on a CPU that all of it works."""

    device: torch.device
    folder: Path
    tiny: bool = False
    cifar10: Path | None = None

    @property
    def batch(self) -> int:
        return 8 if self.tiny else 512  # of which methods in groups need a multiple

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image."""
        return (3, 16, 16) if self.tiny else (3, 32, 32)

    @property
    def seconds(self) -> float:
        """For which a step is repeated."""
        return 0.0 if self.tiny else 1.0

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """At the size of CIFAR-10's DDPM++."""
        return read_recipes("cifar10", LITTLE if self.tiny else {}, self.lpips)

    @property
    def lpips(self) -> str:
        """The distance in its place: with random weights, which cost as much, where the package is there."""
        return "l2" if self.tiny or find_spec("lpips") is None else "lpips_random"

    @cached_property
    def images(self) -> ArrayStore:
        """Random images of CIFAR-10's shape: what a step costs does not depend on what they show."""
        count = 64 if self.tiny else 4096
        rows = np.random.default_rng(0).integers(0, 256, (count, *self.shape)).astype(np.uint8)
        space = DataSpace("random", "images", self.shape, 1.0, ("any",))
        return write_store(self.folder / "images", rows, np.zeros(count, np.int64), space, train=count - 16)

    @cached_property
    def teacher(self) -> SavedModel:
        """One of random weights."""
        return untrained(Job.of(self.recipes["teacher"], self.images), self.images, self.folder / "teacher")

    def earlier(self, recipe: Recipe) -> SavedModel | None:
        """The model that was trained before a recipe's, of random weights; None if there is none."""
        folder = self.folder / f"before_{recipe.name}"
        return recipe.earlier and untrained(self._job(recipe.earlier), self.images, folder)

    def job(self, name: str, **training: Any) -> Job:
        """The training of a recipe, with other numbers."""
        recipe = self.recipes[name]
        recipe = replace(recipe, training=replace(recipe.training, **training))
        return self._job(recipe)

    def _job(self, recipe: Recipe) -> Job:
        teacher = self.teacher if recipe.needs_teacher else None
        return Job.of(recipe, self.images, teacher, self.earlier(recipe))

    def network(self) -> torch.nn.Module:
        return build_network(dict(self.recipes["teacher"].network), self.shape).to(self.device).train()

    def wait(self) -> None:
        """Until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def release(self) -> None:
        """What nobody refers to any more, and graphs of networks that are gone, take no memory."""
        torch.compiler.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def peak_gib(self) -> float | None:
        """The most memory that tensors took since it was last asked; None on a CPU."""
        if self.device.type != "cuda":
            return None
        most = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return round(most, 2)
