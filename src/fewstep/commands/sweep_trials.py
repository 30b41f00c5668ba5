"""The trials of a sweep: one student for each combination of parameters, with a folder of its own."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewstep.commands.error_messages import causes
from fewstep.commands.options import together
from fewstep.commands.project import context_of, judged_by
from fewstep.evaluation.kept_scores import SCORING
from fewstep.pipelines.sweep_words import SEED, Axis, combinations, corners, params_of
from fewstep.reporting.sweep_table import Outcome
from fewstep.support.errors import Divergence, InvalidInput, OutOfMemory
from fewstep.training.job import has_made

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.results import Evaluation
    from fewstep.models.model import SavedModel
    from fewstep.pipelines.config_loader import Context
    from fewstep.training.job import Job

FOLDER = "sweeps"  # below which students and scores of trials lie, and unfinished sweeps
STAGES = ("distill", "evaluate")
RESULTS = (Divergence, OutOfMemory)  # errors that belong to the trial: the others go on


@dataclass(frozen=True)
class Trial:
    """values: {parameter: value as it is typed} of what varies. params: what --params would give. chain: its training,
    after those of its earlier recipes.
    """

    env: str | None
    values: dict[str, str]
    params: dict[str, Any]
    chain: "Sequence[Job]"

    @property
    def job(self) -> "Job":
        """The training of the student."""
        return self.chain[-1]

    @property
    def words(self) -> str:
        """What it is, for people: "ect learning_rate=3e-4 seed=1"."""
        varied = (f"{name.rpartition('.')[2]}={value}" for name, value in self.values.items() if name != "recipe")
        return " ".join([self.job.name, *varied])

    def finished(self) -> Outcome | None:
        """What came of it, if it is finished: the student of this training, with scores of the same weights."""
        catalog = context_of(self.env, runtime=self.params).catalog
        if not (catalog.exists("student") and catalog.exists("scores")):
            return None
        student, scores = catalog.load("student"), catalog.load("scores")
        made_by, name = student.spec.provenance, student.spec.name
        if not has_made(self.chain, made_by) or scores.models.get(name) != student.sha256:
            return None
        return self._outcome(scores, sum(stage.seconds or 0.0 for stage in made_by.stages))

    def run(self, parent_run: str | None) -> Outcome:
        """Train and score it. A training that diverges, or needs more memory than there is, is an outcome too."""
        from kedro.framework.session import KedroSession

        tracking = {"run_name": self.words, "notify": [], **({"parent_run": parent_run} if parent_run else {})}
        params = together(self.params, {"tracking": tracking})
        session = KedroSession.create(Path.cwd(), env=self.env, runtime_params=params)
        try:
            with session:
                session.run(pipeline_names=list(STAGES))
        except Exception as error:
            failure = next((each for each in causes(error) if isinstance(each, RESULTS)), None)
            if failure is None:
                raise
            return self._outcome(None, note=str(failure).partition("\n")[0])
        found = self.finished()
        assert found is not None  # this is what was made now
        return found

    def _outcome(self, scores: "Evaluation | None", seconds: float = 0.0, note: str = "") -> Outcome:
        values = {name: value for name, value in self.values.items() if name != SEED}
        seed = self.values.get(SEED, str(self.job.recipe.seed))
        return Outcome(values, seed, self.job.name, scores, seconds, note)


@dataclass(frozen=True)
class TrialMaker:
    """What the trials of a sweep have in common. given: of a file of parameters. varied: names of parameters.
    scored_by: what all scores depend on.
    """

    env: str | None
    given: dict[str, Any]
    varied: frozenset[str]
    context: "Context"
    images: "ArrayStore"
    teacher: "SavedModel | None"
    scored_by: dict[str, Any]

    @classmethod
    def of(cls, env: str | None, axes: Sequence[Axis], given: dict[str, Any]) -> "TrialMaker":
        """Raises InvalidInput where data are missing, or do not belong together."""
        varied = frozenset(axis.name for axis in axes if len(axis.values) > 1)
        context = context_of(env, runtime=together(given, params_of(next(corners(axes)))))
        images, extractor = judged_by(context, "a sweep needs")
        scored_by = {"extractor": extractor and extractor.sha256, **{part.__name__: part.NUMERICS for part in SCORING}}
        return cls(env, given, varied, context, images, context.catalog.load("teacher"), scored_by)

    def trial(self, values: dict[str, str]) -> Trial:
        """The trial of these values, as they are typed. Raises InvalidInput if it could not be trained."""
        params = together(self.given, params_of(values))
        context = context_of(self.env, runtime=params)
        chain = _checked_chain(context, self.images, self.teacher)
        shown = {name: value for name, value in values.items() if name in self.varied}
        return Trial(self.env, shown, {**params, "trial": _name(chain[-1], context, self.scored_by)}, chain)

    def trials(self, every: Iterable[dict[str, str]]) -> list[Trial]:
        """Those of all these values. Raises InvalidInput as `trial` does, and for two that are the same training."""
        trials = dict[str, Trial]()
        for values in every:
            trial = self.trial(values)
            if other := trials.get(trial.job.run_name):
                raise InvalidInput(
                    f"two trials are the same training: {other.words}, and {trial.words}. Leave out what does not "
                    "change the training of a student."
                )
            trials[trial.job.run_name] = trial
        return list(trials.values())


Propose = Callable[[Sequence[Outcome]], Iterable[Trial]]  # what came of the trials so far -> the next ones


@dataclass(frozen=True)
class Sweep:
    """known: the trials that are known before any has run: all of them, or those at the ends of what is searched.
    total: the number of trials. varied: {parameter: its values, as they are typed}. propose: the trials in their order;
    each is asked for when the outcome of the one before is in the list. sampler: what draws the values, if any.
    """

    known: Sequence[Trial]
    total: int
    varied: dict[str, str]
    propose: Propose
    sampler: str | None = None

    @classmethod
    def of_all(cls, axes: Sequence[Axis], maker: TrialMaker) -> "Sweep":
        """Every combination."""
        trials = maker.trials(combinations(axes))
        return cls(trials, len(trials), varied_of(axes), lambda _: trials)

    @property
    def name(self) -> str:
        """Of its folder and run: the same for the same trials, and for the same search of any length."""
        names = sorted(trial.params["trial"] for trial in self.known)
        facts = [*names, self.sampler] if self.sampler else names
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def recipes(self) -> str:
        """The recipes that are trained: "cd, ect"."""
        return ", ".join(dict.fromkeys(trial.job.name for trial in self.known))

    @property
    def title(self) -> str:
        """What it is, for people: "ect learning_rate=1e-3,2e-3"."""
        varied = (f"{name.rpartition('.')[2]}={text}" for name, text in self.varied.items())
        return " ".join([self.recipes, *varied, *([f"by {self.sampler}"] if self.sampler else [])])


def varied_of(axes: Sequence[Axis]) -> dict[str, str]:
    """{parameter: its values, as they are typed} of what varies."""
    return {axis.name: axis.text for axis in axes if len(axis.values) > 1}


def _checked_chain(context: "Context", images: "ArrayStore", teacher: "SavedModel | None") -> "list[Job]":
    """The trainings of a trial. Raises InvalidInput for what a run would refuse."""
    from fewstep.losses.distances import check_distance
    from fewstep.pipelines.agreement import check_together
    from fewstep.pipelines.limits import check_labels
    from fewstep.training.job import Job

    typed = context.typed
    for recipe in typed.student.chain:
        check_distance(recipe.objective.distance)
    latents = context.catalog.load("latents")
    seen = latents or images
    typed.student.check_fits(seen.space, typed.teacher, typed.launch.workers)
    check_labels(typed.student.chain, images)
    found = {"images": images, "latents": latents, "teacher": teacher, "params:student": typed.student}
    check_together(found, context.catalog, context.config_loader.runtime_params)
    return Job.chain_of(typed.student, seen, teacher)


def _name(job: "Job", context: "Context", scored_by: dict[str, Any]) -> str:
    """The name of a trial: of all that its student and its scores depend on, so that none takes another's place."""
    evaluation = context.typed.evaluation.model_dump(mode="json")
    facts = [job.run_name, job.recipe.to_json()["levels"], evaluation, scored_by]
    return f"{FOLDER}/{job.name}-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]}"
