"""The part of benchmarks/gpu.py about rounding: benchmarks/rounding.py on its device, from a teacher of digits."""

from dataclasses import replace
from functools import cached_property
from typing import Any

from gpu_setting import LITTLE, Setting, read_recipes
from rounding import PLACES, shares

from fewstep.data import ArrayStore, ingest
from fewstep.models.model import SavedModel
from fewstep.step_cost import trial_of
from fewstep.training.job import Job
from fewstep.training.loop import Training, Worker
from fewstep.training.recipe import Recipe

IMAGES = 64_000  # that the teacher sees


class Rounding:
    """The rounding of each recipe's gradient over the gradient itself, where its student has a teacher's weights."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.batch = setting.batch if setting.tiny else 64
        self.kinds = ("bf16", "fp32") if setting.device.type == "cpu" else ("bf16", "tf32", "fp32")

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        return read_recipes("base", LITTLE if self.setting.tiny else {}, self.setting.lpips)

    @cached_property
    def images(self) -> ArrayStore:
        return ingest({"name": "digits"}, self.setting.folder / "digits")

    @cached_property
    def teacher(self) -> SavedModel:
        """Trained here, when the first row asks for it."""
        recipe = self.recipes["teacher"].trained_for(64 if self.setting.tiny else IMAGES)
        folder = self.setting.folder / "digits-teacher"
        training = Training(Job.of(recipe, self.images), folder, Worker(device=self.setting.device))
        for _ in range(training.settings.steps):
            training.make_step()
        training.report()
        return training.model().save(folder / "model")

    def row(self, name: str) -> dict[str, Any]:
        """In the middle of its training and at its end: at first a student that is its teacher has no gradient."""
        recipe = self.recipes[name]
        recipe = replace(recipe, training=replace(recipe.training, precision="fp32"))
        teacher = self.teacher if recipe.needs_teacher else None
        job = Job.of(recipe, self.images, teacher, self.setting.earlier(recipe))
        found: dict[str, Any] = {"batch": self.batch}
        with trial_of(job, self.batch, Worker(device=self.setting.device)) as training:
            self._begin_from_teacher(training)
            for place in ("middle", "last"):
                of_each = shares(training, PLACES[place], self.batch, 1, self.kinds)
                found |= {f"{kind}_{place}": float(f"{one:.3g}") for kind, (one, _) in of_each.items()}
        return found

    def _begin_from_teacher(self, training: Training) -> None:
        weights = self.teacher.load("cpu").function.state_dict()
        for network in {training.networks.student, training.networks.target}:
            own = network.state_dict()
            network.load_state_dict({**own, **{name: value for name, value in weights.items() if name in own}})
