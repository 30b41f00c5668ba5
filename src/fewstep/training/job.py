"""What is to be trained, in plain values that any worker can be handed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import fewstep
from fewstep.data.examples import Examples
from fewstep.models.model import SavedModel
from fewstep.models.spec import ModelSpec, Provenance
from fewstep.support.errors import InvalidInput
from fewstep.support.later import without_later
from fewstep.training.numerics import numerics_of
from fewstep.training.recipe import Recipe

SCORED = ("scores_every", "scores_count")  # of its settings: how it is scored
HOW = ("levels", "picture_nfe")  # of a recipe: what its weights do not depend on


@dataclass(frozen=True)
class Job:
    """A training: a recipe, the data, and the teacher and the earlier model if the recipe needs them.

    data, teacher, earlier: folders of a store and of finished models, with hashes of their content. latents_sha256: of
    what models see of the data, where data is a store of latents. lineage: the
    earlier model's name, hash and provenance, for its own. written_by: the code
    that trains, as facts for people ("git_commit", "git_dirty"). other_numerics: go on from a checkpoint that other
    versions of the numerics wrote. features: the folder of the features that it is scored by. None of these is part of
    its name.
    """

    recipe: Recipe
    data: str
    data_sha256: str
    teacher: str | None = None
    teacher_sha256: str | None = None
    written_by: dict[str, str] = field(default_factory=dict)
    other_numerics: bool = False
    earlier: str | None = None
    lineage: dict[str, Any] | None = None
    latents_sha256: str | None = None
    features: str | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        images: Examples,
        teacher: SavedModel | None = None,
        earlier: SavedModel | None = None,
    ) -> "Job":
        """A recipe's training on these images, or on their latents, from this teacher and this earlier model if the
        recipe needs them.

        Raises ValueError if either does not fit, or is missing.
        """
        job = cls._of_one(recipe, images, teacher)
        recipe.check_model(earlier, job.data_sha256)
        if recipe.earlier is None or earlier is None:
            return job
        lineage = {"name": earlier.spec.name, "sha256": earlier.sha256, **earlier.spec.provenance.to_json()}
        return replace(job, earlier=str(earlier.folder.resolve()), lineage=lineage)

    @classmethod
    def chain_of(cls, recipe: Recipe, images: Examples, teacher: SavedModel | None = None) -> "list[Job]":
        """The trainings of a recipe, after those of its earlier ones, before any of them has run: the name of the one
        before it stands for the weights of the earlier model, which are not known yet.

        None but the first can be run. Raises ValueError as `of` does for the teacher.
        """
        chain: list[Job] = []
        for stage in recipe.chain:
            lineage = {"name": chain[-1].name, "sha256": chain[-1].run_name} if chain else None
            chain.append(replace(cls._of_one(stage, images, teacher), lineage=lineage))
        return chain

    @classmethod
    def _of_one(cls, recipe: Recipe, images: Examples, teacher: SavedModel | None) -> "Job":
        """The training without the earlier model."""
        recipe.check_mirrored(images)
        of_images, of_latents = images.hashes
        job = cls(recipe, str(images.folder.resolve()), of_images, latents_sha256=of_latents)
        if recipe.needs_teacher:
            if teacher is None:
                make = "kedro run --pipelines=teacher"
                raise InvalidInput(f"recipe {recipe.name} needs a teacher, and none exists: {make}")
            recipe.check_teacher(images.space, teacher)
            job = replace(job, teacher=str(teacher.folder.resolve()), teacher_sha256=teacher.sha256)
        return job

    @property
    def name(self) -> str:
        """The name of the recipe."""
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
            earlier=self.lineage,
            more={"numerics": self.numerics, **self.author},
        )

    @property
    def numerics(self) -> dict[str, int]:
        """The versions of what makes its numbers, by part."""
        return numerics_of(self.recipe.objective, self.recipe.training, latents=self.latents_sha256 is not None)

    @property
    def author(self) -> dict[str, str]:
        """The version of Fewstep that trains, and its commit where it is given: for people, in no name."""
        return {"fewstep": fewstep.__version__, **self.written_by}

    @property
    def description(self) -> dict[str, Any]:
        """Everything that the weights depend on: contents by their hashes instead of places, code by its numerics."""
        recipe = self.recipe
        facts = {key: value for key, value in without_later(recipe, recipe.to_json()).items() if key not in HOW}
        facts |= {
            part: without_later(getattr(recipe, part), facts[part]) for part in ("objective", "training", "noise")
        }
        facts["training"] = self._of_weights(facts["training"])
        facts |= {"data_sha256": self.data_sha256, "teacher_sha256": self.teacher_sha256}
        if self.latents_sha256:
            facts["latents_sha256"] = self.latents_sha256
        if self.lineage:
            facts["earlier"] = self.lineage["sha256"]  # which says more than its recipe
        return json.loads(json.dumps(facts | {"numerics": self.numerics}))

    def _of_weights(self, training: dict[str, Any]) -> dict[str, Any]:
        """Those of the settings that weights depend on. How often is scored counts only where scores decide."""
        free = {"snapshots", "scores_count", *(name for name in training if name.endswith("_every"))}
        settings = self.recipe.training
        decide = {name: getattr(settings, name) for name in SCORED if settings.scores_decide}
        return {name: value for name, value in training.items() if name not in free} | decide

    @property
    def run_name(self) -> str:
        """The name of the run's folder: recipe and hash of the description, so that no run takes another's place."""
        return f"{self.name}-{hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:12]}"


def has_made(chain: Sequence[Job], made_by: Provenance) -> bool:
    """Whether a model comes from the last of these trainings, after the others. chain: as of `Job.chain_of`."""
    *before, job = chain
    if not before:
        return made_by.run == job.run_name
    lineage = made_by.earlier or {}
    known = replace(job, lineage=lineage).run_name if "sha256" in lineage else None
    return made_by.run == known is not None and has_made(before, Provenance.from_json(lineage))
