"""Scores of a student while it trains, and which of its checkpoints was the best by them.

They are of few samples, from noise that no report uses, against held-out images. So what is chosen by them is not
chosen by the figures of a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fewstep.data.store import ArrayStore
from fewstep.models.model import Model
from fewstep.samplers import count_levels
from fewstep.support.errors import InvalidInput
from fewstep.training.checkpoint import part_of, path_of, read_checkpoint
from fewstep.training.recipe import Recipe

if TYPE_CHECKING:
    from fewstep.evaluation.ladder import Judge
    from fewstep.training.loop import Training

SEED = -2  # of the noise. The search for levels has -1, and those of reports are not negative
SCORE = "/training_nfe_"  # in the name of a score, before its NFE
NFES = (1, 2)
BATCH = 256  # samples that are generated at once, at most


@dataclass(frozen=True)
class ScoreHistory:
    """{step: scores at each NFE}, in the order of the training. The first NFE decides which is the best."""

    scores: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    def after(self, step: int, scores: tuple[float, ...]) -> "ScoreHistory":
        """With one more."""
        return ScoreHistory({**self.scores, step: scores})

    @property
    def best(self) -> int | None:
        """The step with the lowest score, the first of equal ones; None before there is any."""
        return min(self.scores, key=lambda step: self.scores[step][0], default=None)

    @property
    def since_best(self) -> int:
        """How many scores in a row, up to the last, were no better than the best."""
        steps = list(self.scores)
        return len(steps) - 1 - steps.index(self.best) if self.best is not None else 0

    def to_json(self) -> list[list[float]]:
        """Ready for JSON: [step, *scores] each."""
        return [[step, *scores] for step, scores in self.scores.items()]

    @classmethod
    def from_json(cls, rows: list[list[float]]) -> "ScoreHistory":
        """The inverse of to_json."""
        return cls({int(step): tuple(scores) for step, *scores in rows})


def nfes_of(recipe: Recipe) -> tuple[int, ...]:
    """Network evaluations at which a recipe's student is scored: one and two, or those of its pictures where its
    sampler takes other numbers, as a teacher's does.
    """
    try:
        for nfe in NFES:
            count_levels(recipe.objective.sampler, nfe)
    except InvalidInput:
        return recipe.picture_nfe
    return NFES


class TrainingScores:
    """Scores of a training, which its first worker makes and all know. Raises InvalidInput without features."""

    def __init__(self, training: "Training"):
        self.training, self.settings = training, training.settings
        job = training.job
        if self.settings.scores_every and job.features is None:
            raise InvalidInput(
                f"training.scores_every of {job.name} needs the features that ingest chooses: run kedro run "
                "--pipelines=ingest, or set it to 0."
            )
        self.nfes = nfes_of(job.recipe)

    @cached_property
    def _judge(self) -> "Judge":
        """Of held-out images, or of the training images where too few are held out."""
        from fewstep.evaluation.features.choice import open_choice
        from fewstep.evaluation.ladder import Judge
        from fewstep.evaluation.scores import FEWEST

        job = self.training.job
        assert job.features is not None
        store = ArrayStore.open(job.data)
        split = "heldout" if len(store.images("heldout")) >= FEWEST else "train"
        return Judge.of(store, open_choice(Path(job.features)), split)

    def measure(self) -> dict[str, float]:
        """Score the average as it is now: {"fid_digits/training_nfe_01": ...} on the worker that leads, else {}."""
        training, worker = self.training, self.training.worker
        found = torch.zeros(len(self.nfes), dtype=torch.float64, device=worker.device)
        if worker.leads or training.sharded:
            with training.lost.to("scores"):
                model = training.model()
                if worker.leads:
                    found += torch.tensor(self._scores(model), dtype=torch.float64)
        scores = tuple(worker.of_first(found).tolist())
        training.scored = training.scored.after(training.step, scores)
        if not worker.leads:
            return {}
        named = zip(self.nfes, scores, strict=True)
        return {f"{self._judge.primary}{SCORE}{nfe:02d}": score for nfe, score in named}

    def _scores(self, model: Model) -> list[float]:
        """The primary score (FID, or the Wasserstein distance) at each NFE. It changes nothing of the training."""
        from fewstep.evaluation.sample_stream import in_batches
        from fewstep.evaluation.sampling import sampling_settings

        count, settings = self.settings.scores_count, sampling_settings(model, model.samplers[0], self.nfes)
        made = (in_batches(partial(each.generate, SEED), count, BATCH) for each in settings)
        return [self._judge.distance(samples, seed=0) for samples in made]

    @property
    def are_best(self) -> bool:
        """Whether the last step was scored, better than any before."""
        return self.training.scored.best == self.training.step

    @property
    def have_ended(self) -> bool:
        """Whether so many in a row were no better that the training stops."""
        return bool(self.settings.patience) and self.training.scored.since_best >= self.settings.patience

    def result(self) -> Model:
        """The model that the training ends with. All workers of a sharded training call this; the first one has it."""
        training, model, best = self.training, self.training.model(), self.training.scored.best
        provenance = model.spec.provenance
        if best is not None and self.settings.scores_decide:
            chosen = {"best_at": best * self.settings.batch_size, "scores": len(training.scored.scores)}
            chosen |= {
                "result": self.settings.result,
                "score": training.scored.scores[best][0],
                "trained": training.step * self.settings.batch_size,
            }
            provenance = replace(provenance, more={**provenance.more, "scored": chosen})
        if best is not None and self.settings.result == "best":
            tensors, facts = read_checkpoint(path_of(training.checkpoints.folder, best))
            if training.worker.leads:
                model.function.load_state_dict(part_of(tensors, "average"))
            images = best * self.settings.batch_size
            provenance = replace(provenance, images=images, seconds=round(facts["seconds"], 1))
        return replace(model, spec=replace(model.spec, provenance=provenance))
