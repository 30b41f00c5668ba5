"""Training methods: one file, one class. `build_objective` finds a method by the name of its file."""

import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, cast

from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.names import check_name

__all__ = ["Batch", "Networks", "Objective", "Progress", "build_objective", "objective_class", "objective_names"]


def objective_names() -> list[str]:
    """The methods there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "objective")


def objective_class(name: str | None) -> type[Objective]:
    """The class of a method: the one subclass of Objective that its file defines.

    Raises ValueError with the nearest name if there is no such file, TypeError if it does not define exactly one.
    """
    module = import_module(f"{__name__}.{check_name('objective', name, objective_names())}")
    methods = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Objective) and c.__module__ == module.__name__
    ]
    if len(methods) != 1:
        found = ", ".join(c.__name__ for c in methods) or "none"
        raise TypeError(f"{module.__name__} must define one subclass of Objective, found {found}")
    return methods[0]


def build_objective(spec: Mapping[str, Any]) -> Objective:
    """The method of spec {name, ...its constants}. Raises ValueError for what is not there or out of range."""
    constants = dict(spec)
    cls = objective_class(constants.pop("name", None))
    for constant in constants:
        check_name("constant", constant, [f.name for f in fields(cast(Any, cls))], spec["name"])
    return cls(**constants)
