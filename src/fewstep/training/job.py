"""What is to be trained, in plain values that any worker can be handed."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fewstep
from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel
from fewstep.models.spec import ModelSpec, Provenance
from fewstep.objectives import objective_names
from fewstep.support.errors import InvalidInput
from fewstep.training.recipe import Recipe

SOURCES = (
    "data/space.py",
    "data/store.py",
    "diffusion/*.py",
    "losses/*.py",
    "networks/*.py",
    "objectives/*.py",
    "preconditioning/*.py",
    "training/*.py",
)
HOW = ("levels", "picture_nfe")  # of a recipe: what its weights do not depend on


@dataclass(frozen=True)
class Job:
    """A training: a recipe, the data, and the teacher if the recipe needs one.

    data, teacher: folders of an array store and of a finished model, with hashes of their content.
    """

    recipe: Recipe
    data: str
    data_sha256: str
    teacher: str | None = None
    teacher_sha256: str | None = None

    @classmethod
    def of(cls, recipe: Recipe, images: ArrayStore, teacher: SavedModel | None = None) -> "Job":
        """A recipe's training on these images, from this teacher if the recipe needs one.

        Raises ValueError if that teacher does not fit, or is missing.
        """
        data = str(images.folder.resolve()), images.sha256
        if not recipe.needs_teacher:
            return cls(recipe, *data)
        if teacher is None:
            raise InvalidInput(f"recipe {recipe.name} needs a teacher, and none exists: kedro run --pipelines=teacher")
        recipe.check_teacher(images.space, teacher)
        return cls(recipe, *data, str(teacher.folder.resolve()), teacher.sha256)

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    @property
    def spec(self) -> ModelSpec:
        """How the student is built and sampled: the head of its model.json."""
        return self.recipe.spec(self.data_sha256)

    @property
    def provenance(self) -> Provenance:
        """Where the student comes from."""
        facts = self.recipe.to_json()
        return Provenance(
            run=self.run_name,
            **{key: facts[key] for key in ("objective", "training", "start", "start_new", "seed")},
            teacher_sha256=self.teacher_sha256,
            more={"code": code_hash(self.recipe.objective.name), "fewstep": fewstep.__version__},
        )

    @property
    def description(self) -> dict[str, Any]:
        """Everything that the weights depend on: contents by their hashes instead of places, and the code."""
        facts = {key: value for key, value in self.recipe.to_json().items() if key not in HOW}
        facts["training"] = {k: v for k, v in facts["training"].items() if not k.endswith("_every")}
        facts |= {"data_sha256": self.data_sha256, "teacher_sha256": self.teacher_sha256}
        return json.loads(json.dumps(facts | {"code": code_hash(self.recipe.objective.name)}))

    @property
    def run_name(self) -> str:
        """The name of the run's folder: recipe and hash of the description, so that no run takes another's place."""
        return f"{self.name}-{hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:12]}"


@cache
def code_hash(objective: str) -> str:
    """sha256 over the sources that a training runs through, so that no run is resumed by other code.

    Of the methods only this one counts: a new method leaves the runs of the others as they were.
    """
    root, digest = Path(fewstep.__file__).parent, hashlib.sha256()
    others = {root / "objectives" / f"{name}.py" for name in objective_names() if name != objective}
    for file in sorted({p for pattern in SOURCES for p in root.glob(pattern)} - others):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]
