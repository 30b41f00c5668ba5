"""The ways to sample a model that an evaluation compares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from fewstep.models.model import Model
from fewstep.networks.execution import PLAIN, Execution


@dataclass(frozen=True)
class SamplingSetting:
    """A model, a sampler and a number of network evaluations (NFE): one way to generate.

    generate: (seed, indices) -> stored values, uint8 [B, C, H, W] or float32 [B, D]; a sample is a function of the seed
    and its index. function: what generate calls, nfe times for each sample: it is counted. classes: of a class-
    conditional model, which is asked for them in turn: sample i is of class i % classes. execution: how its passes run.
    """

    model: str
    sampler: str
    nfe: int
    levels: Sequence[float]
    generate: Callable[[int, np.ndarray], np.ndarray]
    function: nn.Module
    classes: int = 0
    execution: Execution = PLAIN


def sampling_settings(model: Model, sampler: str, nfes: Iterable[int], gamma: float = 0.0) -> list[SamplingSetting]:
    """A model by one of its samplers at several NFE.

    gamma: of the sampler of that name; other than 0, it is part of the name in results.
    """
    name = f"{sampler}_{gamma:g}" if gamma else sampler
    classes = len(model.space.classes) if model.spec.labels else 0

    def setting(nfe: int) -> SamplingSetting:
        def generate(seed: int, indices: np.ndarray) -> np.ndarray:
            labels = asked_labels(indices, classes)
            return model.sample(nfe=nfe, seed=seed, indices=indices, labels=labels, sampler=sampler, gamma=gamma)

        levels = model.levels(nfe, sampler).tolist()
        return SamplingSetting(model.spec.name, name, nfe, levels, generate, model.function, classes, model.execution)

    return [setting(nfe) for nfe in nfes]


def asked_labels(indices: Sequence[int] | np.ndarray, classes: int) -> np.ndarray | None:
    """The classes that samples of these indices are asked for, in turn; None where there are none."""
    return np.asarray(indices) % classes if classes else None


def settings_by_sampler(model: Model, nfes: Mapping[str, Iterable[int]]) -> list[SamplingSetting]:
    """A model by several samplers. nfes: {sampler: NFE}, each in rising order here."""
    return [setting for sampler, found in nfes.items() for setting in sampling_settings(model, sampler, sorted(found))]


def journey_settings(
    student: Model,
    teacher: Model | None,
    student_nfe: Sequence[int],
    teacher_nfe: Mapping[str, Sequence[int]],
    gammas: Sequence[float] = (),
) -> list[SamplingSetting]:
    """The student at every NFE and, where its sampler draws noise, at other gammas; the teacher by each sampler.

    teacher_nfe: {sampler: NFE}.
    """
    found = sampling_settings(student, student.samplers[0], student_nfe)
    if student.samplers[0] == "gamma":
        several = [nfe for nfe in student_nfe if nfe > 1]  # a single evaluation draws nothing after the first noise
        found += [setting for gamma in gammas for setting in sampling_settings(student, "gamma", several, gamma)]
    return found + (settings_by_sampler(teacher, teacher_nfe) if teacher else [])
