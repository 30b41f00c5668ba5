"""The quality ladder: every model and sampler at every number of network evaluations, against the training images."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from torch import nn

from fewstep.data.space import DataSpace
from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.counting import count_evaluations
from fewstep.evaluation.extractor_choice import check_images
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.fidelity import register_extractor
from fewstep.evaluation.interval import interval
from fewstep.evaluation.measured import difference
from fewstep.evaluation.memorisation import TrainingSet, memorisation_rate
from fewstep.evaluation.perception import diversity, find_lpips
from fewstep.evaluation.points import equal_parts, sliced_wasserstein, wasserstein
from fewstep.evaluation.sample_stream import in_batches
from fewstep.evaluation.scores import FEWEST, Reference, frechet_distance, score_images
from fewstep.support.checks import at_least, check_value
from fewstep.support.errors import InvalidInput

Scores = dict[str, dict]


@dataclass(frozen=True)
class Rung:
    """One way to generate.

    generate: (seed, indices) -> stored values, uint8 [B, C, H, W] or float32 [B, D]; a sample is a function of the seed
    and its index. function: what generate calls, nfe times for each sample: it is counted. classes: of a class-
    conditional model, which is asked for them in turn: sample i is of class i % classes.
    """

    model: str
    sampler: str
    nfe: int
    levels: Sequence[float]
    generate: Callable[[int, np.ndarray], np.ndarray]
    function: nn.Module
    classes: int = 0


def rungs_of(model, sampler: str, nfes: Iterable[int], gamma: float = 0.0) -> list[Rung]:
    """The rungs of a finished model (fewstep.models.model.Model) with one of its samplers.

    gamma: of the sampler of this name, which other than 0 is called by it too.
    """
    name = f"{sampler}_{gamma:g}" if gamma else sampler
    classes = len(model.space.classes) if model.spec.labels else 0

    def rung(nfe: int) -> Rung:
        def generate(seed: int, indices: np.ndarray) -> np.ndarray:
            labels = asked_labels(indices, classes)
            return model.sample(nfe, seed, indices, labels, sampler, gamma=gamma)

        levels = model.levels(nfe, sampler).tolist()
        return Rung(model.spec.name, name, nfe, levels, generate, model.function, classes)

    return [rung(nfe) for nfe in nfes]


def asked_labels(indices, classes: int) -> np.ndarray | None:
    """The classes that samples of these indices are asked for, in turn; None where there are none."""
    return np.asarray(indices) % classes if classes else None


@dataclass(frozen=True)
class Judge:
    """What samples are compared with: made once for all rows.

    points: the reference, where there is no extractor.
    """

    training: TrainingSet
    space: DataSpace
    points: np.ndarray | None = None
    extractor: Extractor | None = None
    reference: Reference | None = None

    @classmethod
    def of(cls, store, extractor: Extractor | None, split: str = "train") -> "Judge":
        images = store.images(split)
        if extractor is None:
            return cls(TrainingSet(images), store.space, points=np.array(images))
        register_extractor(extractor)
        return cls(TrainingSet(images), store.space, None, extractor, Reference.of(images, extractor))

    @cached_property
    def lpips(self) -> nn.Module | None:
        """The distance, where there are weights."""
        return find_lpips(self.space)

    def distance(self, samples: np.ndarray, seed: int) -> float:
        """The first of the scores, alone."""
        if self.extractor is None:
            return wasserstein(*equal_parts(samples, self.points, seed))
        return frechet_distance(self.extractor(samples), self.reference)

    def scores(self, samples: np.ndarray, seed: int, labels: np.ndarray | None = None) -> dict[str, float]:
        """All of them. labels: those that the samples were asked for."""
        if self.extractor is None:
            clouds = equal_parts(samples, self.points, seed)
            quality = {"wasserstein": wasserstein(*clouds), "sliced_wasserstein": sliced_wasserstein(*clouds, seed)}
        else:
            quality = score_images(samples, self.reference, self.extractor, seed, labels)
        if self.lpips:
            quality["lpips_diversity"] = diversity(samples, self.lpips, self.space)
        return {**quality, "memorisation": memorisation_rate(samples, self.training)}


def evaluate(
    rungs: Iterable[Rung],
    store,
    extractor: Extractor | None,
    *,
    count: int,
    seeds: Sequence[int],
    batch_size: int = 256,
    judge: Judge | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_samples: Callable[[Rung, int, np.ndarray], None] | None = None,
) -> dict:
    """Scores of every rung and of the floor, ready for JSON; those of fewer than three seeds are called provisional.

    store: an ArrayStore; its training images are the reference, its held-out images the floor. extractor: None for
    points. count: samples of each seed, with indices 0 to count - 1, so that every model starts from the same noise.
    judge: of these data and this extractor, where there is one already. on_progress(done, total) counts samples.
    on_samples(rung, seed, samples) may keep pictures. Raises ValueError, before any work, for counts and extractors
    that cannot be.
    """
    rungs = list(rungs)
    _check(store, extractor, count, seeds)
    judge = judge or Judge.of(store, extractor)
    total, rows, warm = len(rungs) * len(seeds) * count, [], set()
    for rung in rungs:
        if id(rung.function) not in warm:
            rung.generate(seeds[0], np.arange(min(batch_size, count)))
            warm.add(id(rung.function))
        seconds, values = 0.0, []
        for seed in seeds:
            done = (len(rows) * len(seeds) + len(values)) * count
            said = on_progress and (lambda made, _, done=done: on_progress(done + made, total))
            samples, taken = _generate(rung, seed, count, batch_size, said)
            seconds += taken
            values.append(judge.scores(samples, seed, asked_labels(range(count), rung.classes)))
            if on_samples:
                on_samples(rung, seed, samples)
        rows.append(
            {
                "model": rung.model,
                "sampler": rung.sampler,
                "nfe": rung.nfe,
                "levels": [float(level) for level in rung.levels],
                "scores": _summary(values),
                "images_per_second": round(count * len(seeds) / seconds, 1),
            }
        )
    return _scored(store, extractor, judge, count, seeds, rows)


def evaluate_given(
    samples: np.ndarray, name: str, store, extractor: Extractor | None, *, count: int, seeds: Sequence[int]
) -> dict:
    """Scores of samples that were made anywhere, as `evaluate` gives them.

    samples: stored values, uint8 [N, C, H, W] or float32 [N, D]. For each seed a part of them is taken by chance, none
    in two parts. ValueError where there are not as many.
    """
    _check(store, extractor, count, seeds)
    if count * len(seeds) > len(samples):
        raise InvalidInput(
            f"{count} samples for each of the seeds {', '.join(map(str, seeds))} need {count * len(seeds)} samples, "
            f"and {name} has {len(samples)}."
        )
    judge, order = Judge.of(store, extractor), np.random.RandomState(seeds[0]).permutation(len(samples))
    parts = [samples[np.sort(order[i * count : (i + 1) * count])] for i in range(len(seeds))]
    scores = _summary([judge.scores(part, seed) for part, seed in zip(parts, seeds, strict=True)])
    row = {"model": name, "sampler": "given", "nfe": 0, "levels": [], "scores": scores, "images_per_second": None}
    return _scored(store, extractor, judge, count, seeds, [row])


def _scored(store, extractor: Extractor | None, judge: Judge, count: int, seeds: Sequence[int], rows) -> dict:
    found = floor(store.images("heldout"), judge, count, seeds)
    return {**measured(store, extractor, count, seeds), "floor": found, "rows": rows}


def measured(store, extractor: Extractor | None, count: int, seeds: Sequence[int]) -> dict:
    """How scores are measured: what is known of them before any work."""
    return {
        "dataset": store.space.name,
        "data_sha256": store.sha256,
        "split": "train",
        "extractor": {"name": extractor.name, "sha256": extractor.sha256} if extractor else None,
        "count": count,
        "seeds": list(seeds),
        "provisional": len(seeds) < FULL_SEEDS,
    }


def floor(heldout: np.ndarray, judge: Judge, count: int, seeds: Sequence[int]) -> dict:
    """Scores of real images that were not trained on: `count` of them by chance for each seed, or all if fewer."""
    parts = [heldout[np.sort(np.random.RandomState(seed).permutation(len(heldout))[:count])] for seed in seeds]
    found = {
        "count": len(parts[0]),
        "scores": _summary([judge.scores(*part) for part in zip(parts, seeds, strict=True)]),
    }
    if len(heldout) <= count:
        for score in found["scores"].values():
            score["interval"] = None  # every seed has the same images
    if found["count"] < count:
        found["note"] = (
            f"only {found['count']} images are held out: FID falls with the number, so this floor is too high"
        )
    return found


def _generate(rung, seed, count, batch_size, on_progress) -> tuple[np.ndarray, float]:
    """The samples, and the seconds that they took. The network's evaluations are counted and must be those declared."""
    started = time.perf_counter()
    with count_evaluations(rung.function) as counted:
        samples = in_batches(partial(rung.generate, seed), count, batch_size, on_progress)
    seconds = time.perf_counter() - started
    assert counted.samples == rung.nfe * count, f"{rung.model} {rung.sampler}: {counted} of {count}, not {rung.nfe} NFE"
    return samples, seconds


def _summary(values: list[dict[str, float]]) -> Scores:
    found = {name: [float(v[name]) for v in values] for name in values[0]}
    return {name: {"mean": float(np.mean(v)), "interval": interval(v), "values": v} for name, v in found.items()}


def _check(store, extractor, count, seeds) -> None:
    space = store.space
    if (extractor is None) != (space.kind == "points"):
        given = extractor.name if extractor else None
        raise InvalidInput(f"images need a feature extractor and points must have none, got {given} for {space.kind}.")
    if extractor:
        check_images(extractor, space)
    check_value("count", count, at_least(FEWEST))
    if not seeds or len(set(seeds)) < len(seeds):
        raise InvalidInput.of("seeds", list(seeds), "at least one number, without repetitions")
    for split in ("train", "heldout"):
        if (found := len(store.images(split))) < FEWEST:
            raise InvalidInput(
                f"scores need at least {FEWEST} samples, and the {split} split of {space.name} has {found}."
            )


def joined(evaluations: Sequence[dict]) -> dict:
    """Several evaluations as one, with the rows of all. Raises ValueError that names what differs between them."""
    first = evaluations[0]
    for other in evaluations[1:]:
        if found := difference(first, other):
            raise InvalidInput(
                f"scores of {first['rows'][0]['model']} (here) and of {other['rows'][0]['model']} (there) cannot be "
                f"compared: {found}. Evaluate both again."
            )
    return {**first, "rows": [row for evaluation in evaluations for row in evaluation["rows"]]}
