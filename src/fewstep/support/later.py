"""Settings that came after trainings had been named without them, and so leave their names alone at their default."""

from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any

LATER = "later"


def later(default: Any) -> Any:
    """A dataclass's field for a setting that a released version did not have, and that at `default` changes nothing."""
    return field(default=default, metadata={LATER: True})


def without_later(settings: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """facts, whose keys are fields of the dataclass `settings`, without the later ones that are at their default."""

    def unchanged(setting: Field[Any]) -> bool:
        return LATER in setting.metadata and getattr(settings, setting.name) == setting.default

    left_out = {setting.name for setting in fields(settings) if unchanged(setting)}
    return {name: value for name, value in facts.items() if name not in left_out}
