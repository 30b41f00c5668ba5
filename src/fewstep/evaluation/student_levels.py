"""The noise levels at which a student was scored. Editing, report and registered version use the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fewstep.models.model import SavedModel
from fewstep.models.spec import Levels, levels_from_json, levels_to_json


@dataclass(frozen=True)
class StudentLevels:
    """levels: {NFE: noise levels after the first}. searched: found by a search; otherwise they are the recipe's."""

    model_sha256: str
    levels: Levels
    searched: bool

    @classmethod
    def of_recipe(cls, student: SavedModel) -> "StudentLevels":
        """The levels of the student's recipe."""
        return cls(student.sha256, student.spec.levels, False)

    def at(self, student: SavedModel) -> SavedModel:
        """The student, to which they belong, at these levels."""
        return student.at_levels(self.levels)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "model_sha256": self.model_sha256,
            "levels": levels_to_json(self.levels),
            "searched": self.searched,
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "StudentLevels":
        """The inverse of to_json."""
        return cls(facts["model_sha256"], levels_from_json(facts["levels"]), facts["searched"])
