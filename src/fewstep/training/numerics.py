"""What a training computes, as small integers: they are part of its name, and no byte of its source is.

An integer stands where its numbers are made: `NUMERICS` in a package, `numerics` in an objective's class. Whoever
changes seeded numbers raises it; tests/goldens holds the numbers to it, and so a comment, a message or a refactoring
leaves trainings and `dvc repro` alone.
"""

from collections.abc import Callable
from types import ModuleType

from fewstep import data, diffusion, evaluation, losses, networks, preconditioning, training
from fewstep.data import augmentation, latent_space
from fewstep.diffusion import randomness
from fewstep.objectives import Objective
from fewstep.training import power_average
from fewstep.training.hyperparameters import TrainingSettings

PARTS: dict[str, ModuleType] = {
    "training": training,
    "data": data,
    "losses": losses,
    "networks": networks,
    "preconditioning": preconditioning,
    "diffusion": diffusion,
    "randomness": randomness,
}
# Parts that a training may do without, and which trainings have them.
SOMETIMES: dict[str, tuple[ModuleType, Callable[[TrainingSettings], bool]]] = {
    "augmentation": (augmentation, lambda settings: bool(settings.augment.used)),
    "power_average": (power_average, lambda settings: bool(settings.averages)),
    "evaluation": (evaluation, lambda settings: settings.scores_decide),
}


def numerics_of(objective: Objective, settings: TrainingSettings, latents: bool = False) -> dict[str, int]:
    """{part: version} of all that a training by this objective, on pixels or on latents, runs through."""
    parts = PARTS | {name: part for name, (part, has) in SOMETIMES.items() if has(settings)}
    parts |= {"latents": latent_space} if latents else {}
    return {"objective": objective.numerics, **{name: part.NUMERICS for name, part in parts.items()}}


def changes_between(saved: dict[str, int], now: dict[str, int]) -> str:
    """What differs, in words: "objective from version 1 to 2, networks from version 3 to 4"."""
    names = [name for name in {**now, **saved} if saved.get(name) != now.get(name)]
    return ", ".join(f"{name} from version {saved.get(name, 'none')} to {now.get(name, 'none')}" for name in names)
