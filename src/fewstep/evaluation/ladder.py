"""The quality ladder: every model and sampler at every number of network evaluations, against the training images."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import nn

from fewstep.data.space import DataSpace
from fewstep.data.store import ArrayStore
from fewstep.evaluation.counting import count_evaluations
from fewstep.evaluation.evaluators import Evaluator, evaluators_of
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.features.choice import check_images
from fewstep.evaluation.features.fidelity_register import register_extractor
from fewstep.evaluation.memorisation import TrainingSet, memorisation_rate
from fewstep.evaluation.perception import diversity, find_lpips
from fewstep.evaluation.points import equal_parts, sliced_wasserstein, wasserstein
from fewstep.evaluation.reference_files import ReferenceFile
from fewstep.evaluation.results import SOME, Evaluation, ExtractorId, Floor, Measurement, Row, primary_score, scores_of
from fewstep.evaluation.sample_stream import batches, in_batches
from fewstep.evaluation.sampling import SamplingSetting, asked_labels
from fewstep.evaluation.scores import FEWEST, Reference, frechet_distance, score_images
from fewstep.support.checks import at_least, check_value, up_to, whole
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Judge:
    """What samples are compared with. It is computed once for all rows.

    points: the reference for data without an extractor. evaluators: of other programs, with references of their own.
    """

    training: TrainingSet
    space: DataSpace
    points: np.ndarray | None = None
    extractor: Extractor | None = None
    reference: Reference | None = None
    evaluators: tuple[Evaluator, ...] = ()

    @classmethod
    def of(
        cls,
        store: ArrayStore,
        extractor: Extractor | None,
        split: str = "train",
        references: tuple[ReferenceFile, ...] = (),
    ) -> "Judge":
        """Raises InvalidInput, before any features are made, if a reference does not fit."""
        images, evaluators = store.images(split), evaluators_of(references, extractor, store.space)
        if extractor is None:
            return cls(TrainingSet(images), store.space, points=np.array(images))
        register_extractor(extractor)
        reference = Reference.of(images, extractor, _known(store.labels(split)))
        for each in evaluators:
            each.check_width(reference.features.features.shape[1])
        return cls(TrainingSet(images), store.space, None, extractor, reference, evaluators)

    @cached_property
    def lpips(self) -> nn.Module | None:
        """The LPIPS distance, or None if its weights are not installed."""
        return find_lpips(self.space)

    @property
    def references(self) -> list[ReferenceFile]:
        """What the evaluators compare with."""
        return [each.file for each in self.evaluators]

    @property
    def primary(self) -> str:
        """The name of the score that ranks and judges."""
        return primary_score(self.extractor and self.extractor.name)

    def distance(self, samples: np.ndarray, seed: int) -> float:
        """The primary score alone, which is all that a search needs."""
        if self.extractor is None:
            assert self.points is not None
            return wasserstein(*equal_parts(samples, self.points, seed))
        assert self.reference is not None
        return frechet_distance(self.extractor(samples), self.reference)

    def scores(self, samples: np.ndarray, seed: int, labels: np.ndarray | None = None) -> dict[str, float]:
        """{name: score} of samples. labels: the classes that the samples were made for, [N]."""
        if self.extractor is None:
            assert self.points is not None
            clouds = equal_parts(samples, self.points, seed)
            quality = {"wasserstein": wasserstein(*clouds), "sliced_wasserstein": sliced_wasserstein(*clouds, seed)}
        else:
            assert self.reference is not None
            quality = score_images(samples, self.reference, self.extractor, seed, labels, self.evaluators)
        if self.lpips:
            quality["lpips_diversity"] = diversity(samples, self.lpips, self.space)
        return {**quality, "memorisation": memorisation_rate(samples, self.training)}


def _known(labels: np.ndarray) -> np.ndarray | None:
    """The labels of images, None where some have none."""
    found = np.asarray(labels)
    return found if len(found) and found.min() >= 0 else None


def evaluate(
    settings: Iterable[SamplingSetting],
    store: ArrayStore,
    extractor: Extractor | None,
    *,
    count: int,
    seeds: Sequence[int],
    batch_size: int = 256,
    judge: Judge | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores of every setting, and of held-out data (the floor). With fewer than three seeds they are provisional.

    store: its training images are the reference, its held-out images give the floor. extractor: None for points. count:
    samples of each seed, with indices 0 to count - 1, so that every model starts from the same noise. judge: for this
    store and extractor, if one exists already. on_progress(done, total) counts samples. Raises ValueError, before any
    work starts, for counts or extractors that do not fit.
    """
    settings = list(settings)
    _check(store, extractor, count, seeds)
    judge = judge or Judge.of(store, extractor)
    total, rows, warm = len(settings) * len(seeds) * count, [], set()
    for setting in settings:
        # The first call of a network is slower (allocations, kernel choice), which would distort its speed.
        if id(setting.function) not in warm:
            _, first = next(batches(partial(setting.generate, seeds[0]), 0, count, batch_size))
            batch_size = len(first)  # what fits
            warm.add(id(setting.function))
        seconds, values = 0.0, []
        for seed in seeds:
            done = (len(rows) * len(seeds) + len(values)) * count
            said = on_progress and (lambda made, _, done=done: on_progress(done + made, total))
            samples, taken = _generate(setting, seed, count, batch_size, said)
            seconds += taken
            values.append(judge.scores(samples, seed, asked_labels(range(count), setting.classes)))
        levels, speed = tuple(map(float, setting.levels)), round(count * len(seeds) / seconds, 1)
        rows.append(
            Row(setting.model, setting.sampler, setting.nfe, levels, scores_of(values), speed, setting.execution)
        )
    return _scored(store, extractor, judge, count, seeds, rows)


def evaluate_given(
    samples: np.ndarray,
    name: str,
    store: ArrayStore,
    extractor: Extractor | None,
    *,
    count: int,
    seeds: Sequence[int],
    references: tuple[ReferenceFile, ...] = (),
) -> Evaluation:
    """Scores of samples from anywhere, of the same form as those of `evaluate`.

    samples: stored values, uint8 [N, C, H, W] or float32 [N, D]. Each seed scores `count` of them, drawn at random; no
    sample is used twice. Raises ValueError if there are too few.
    """
    _check(store, extractor, count, seeds)
    if count * len(seeds) > len(samples):
        raise InvalidInput(
            f"{count} samples for each of the seeds {', '.join(map(str, seeds))} need {count * len(seeds)} samples, "
            f"and {name} has {len(samples)}."
        )
    # One permutation is cut into parts: seeds that shared samples would make the interval too narrow.
    judge, order = (
        Judge.of(store, extractor, references=references),
        np.random.RandomState(seeds[0]).permutation(len(samples)),
    )
    parts = [samples[np.sort(order[i * count : (i + 1) * count])] for i in range(len(seeds))]
    scores = scores_of([judge.scores(part, seed) for part, seed in zip(parts, seeds, strict=True)])
    return _scored(store, extractor, judge, count, seeds, [Row(name, "given", 0, (), scores, None)])


def _scored(
    store: ArrayStore,
    extractor: Extractor | None,
    judge: Judge,
    count: int,
    seeds: Sequence[int],
    rows: Sequence[Row],
) -> Evaluation:
    found = floor(store.images("heldout"), judge, count, seeds)
    return Evaluation(
        measurement_of(store, extractor, count, seeds, judge.references), judge.primary, tuple(rows), found
    )


def measurement_of(
    store: ArrayStore,
    extractor: Extractor | None,
    count: int,
    seeds: Sequence[int],
    references: Sequence[ReferenceFile] = (),
) -> Measurement:
    """How these scores are measured. This is known before any work starts."""
    used = ExtractorId(extractor.name, extractor.sha256) if extractor else None
    compared = {each.evaluator: each.sha256 for each in references}
    whole = used is not None and max(count, len(store.images("train"))) > SOME
    return Measurement(store.space.name, store.sha256, "train", used, count, tuple(seeds), compared, whole)


def floor(
    heldout: np.ndarray,
    judge: Judge,
    count: int,
    seeds: Sequence[int],
    scores: Callable[[np.ndarray, int], dict[str, float]] | None = None,
) -> Floor:
    """Scores of real images that were not trained on: `count` drawn at random for each seed, or all if fewer.

    None where they are too few for scores. scores: of images and a seed, in place of the judge's.
    """
    if len(heldout) < FEWEST:
        return Floor(len(heldout), {}, f"there is none: {len(heldout)} images are held out, and scores need {FEWEST}")
    parts = [heldout[np.sort(np.random.RandomState(seed).permutation(len(heldout))[:count])] for seed in seeds]
    values = [(scores or judge.scores)(*part) for part in zip(parts, seeds, strict=True)]
    # FID is biased upwards for few images, so a floor of fewer images than the samples is not a fair bound.
    note = f"only {len(heldout)} images are held out: FID falls with the number, so this floor is too high"
    found = scores_of(values, same_samples=len(heldout) <= count)
    return Floor(len(parts[0]), found, note if len(heldout) < count else None)


def _generate(
    setting: SamplingSetting,
    seed: int,
    count: int,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, float]:
    """The samples, and the seconds they took. Network evaluations are counted and must agree with the declared NFE."""
    started = time.perf_counter()
    with count_evaluations(setting.function) as counted:

        def generate(indices: np.ndarray) -> np.ndarray:
            before = counted.samples
            try:
                return setting.generate(seed, indices)
            except torch.OutOfMemoryError:
                counted.samples = before  # a smaller batch is made in its place
                raise

        samples = in_batches(generate, count, batch_size, on_progress)
    seconds = time.perf_counter() - started
    assert counted.samples == setting.nfe * count, (
        f"{setting.model} {setting.sampler}: {counted} of {count}, not {setting.nfe} NFE"
    )
    return samples, seconds


def _check(store: ArrayStore, extractor: Extractor | None, count: int, seeds: Sequence[int]) -> None:
    space = store.space
    if (extractor is None) != (space.kind == "points"):
        given = extractor.name if extractor else None
        raise InvalidInput(f"images need a feature extractor and points must have none, got {given} for {space.kind}.")
    if extractor:
        check_images(extractor, space)
    check_value("count", count, up_to(10**9, whole(at_least(FEWEST))))
    if not seeds or len(set(seeds)) < len(seeds):
        raise InvalidInput.of("seeds", list(seeds), "at least one number, without repetitions")
    if (found := len(store.images("train"))) < FEWEST:
        raise InvalidInput(f"scores need at least {FEWEST} images to compare with, and {space.name} train on {found}.")
