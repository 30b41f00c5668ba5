"""Training methods: one file, one class. `build_objective` finds a method by the name of its file."""

import pkgutil
from dataclasses import fields
from importlib import import_module

from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.names import check_name

__all__ = ["Batch", "Networks", "Objective", "Progress", "build_objective", "objective_class", "objective_names"]


def objective_names() -> list[str]:
    """The methods there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "objective")


def objective_class(name: str) -> type[Objective]:
    """The class of a method. Raises ValueError with the nearest name if there is none."""
    module = import_module(f"{__name__}.{check_name('objective', name, objective_names())}")
    return next(c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__)


def build_objective(spec: dict) -> Objective:
    """The method of spec {name, ...its constants}. Raises ValueError for what is not there or out of range."""
    constants = dict(spec)
    cls = objective_class(constants.pop("name", None))
    for constant in constants:
        check_name("constant", constant, [f.name for f in fields(cls)], spec["name"])
    return cls(**constants)
