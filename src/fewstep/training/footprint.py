"""The memory that the state of a training takes, known before anything is made: docs/scaling.md has a table."""

import torch
from torch import nn

from fewstep.data.store import ArrayStore
from fewstep.models.model import SavedModel, build_function
from fewstep.objectives import Progress
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe

FLOAT32 = 4  # bytes
TRAINED = 4  # numbers for each weight that is trained: itself, its gradient, two moments
SPARE = 1.1


def numbers_a_weight(recipe: Recipe) -> int:
    """The numbers that are kept for each weight of the student: those of its training, the average, the target, and
    averages that are kept beside.
    """
    numbers = recipe.training
    first = Progress(0, numbers.steps, 0, numbers.steps * numbers.batch_size)
    has_target = recipe.objective.target_decay(first) is not None
    return TRAINED + 1 + has_target + len(numbers.averages)


def bytes_a_weight(recipe: Recipe) -> int:
    """The bytes of a training for each weight of its student, where teacher and earlier model have as many weights."""
    objective = recipe.objective
    beside = objective.needs_teacher + objective.needs_earlier + TRAINED * objective.trained_beside
    return FLOAT32 * (numbers_a_weight(recipe) + beside)


def state_bytes(job: Job) -> int:
    """Bytes of weights, gradients, optimisers and averages, of a worker that holds all of them."""
    space, objective = ArrayStore.open(job.data).space, job.recipe.objective
    with torch.device("meta"):
        student = build_function(job.spec, space)
        extra = objective.modules(student, space.scale)
    numbers = numbers_a_weight(job.recipe) * count(student) + TRAINED * sum(map(count, extra.values()))
    kept = {job.teacher: objective.needs_teacher, job.earlier: objective.needs_earlier}
    numbers += sum(SavedModel.open(folder).weights for folder, is_kept in kept.items() if folder and is_kept)
    return FLOAT32 * numbers


def count(module: nn.Module) -> int:
    """The number of its weights."""
    return sum(p.numel() for p in module.parameters())


def fits(needed: float, there: int) -> bool:
    """Whether so many bytes fit into memory, with a tenth to spare."""
    return SPARE * needed < there
