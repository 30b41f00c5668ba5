"""What the registry holds: a line for each version."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from fewstep.registry.model_names import FORMERLY, PREFIX
from fewstep.registry.versions import facts_of
from fewstep.tracking.backend import Backend


@dataclass(frozen=True)
class Listed:
    """A version of a registered model. made: when it was registered, UTC. score: the one that the gate judges by."""

    name: str
    version: int
    recipe: str
    aliases: tuple[str, ...]
    score: str
    value: float | None
    made: datetime


def listed(backend: Backend) -> list[Listed]:
    """Every version of Fewstep's models, by name and number; none where there is no registry yet.

    Raises ConnectionError where MLflow does not answer.
    """
    if backend.database and not backend.database.exists():
        return []
    client, found = backend.existing(), []
    for model in client.search_registered_models():
        if not model.name.startswith((PREFIX, FORMERLY)):
            continue
        aliases = defaultdict(list)
        for alias, number in model.aliases.items():
            aliases[int(number)].append(alias)
        for version in client.search_model_versions(f"name='{model.name}'"):
            facts, number = facts_of(version), int(version.version)
            judged, made = facts.get("judged_by", {}), datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
            found.append(
                Listed(
                    model.name,
                    number,
                    facts.get("recipe", ""),
                    tuple(sorted(aliases[number])),
                    judged.get("score", ""),
                    judged.get("value"),
                    made,
                )
            )
    return sorted(found, key=lambda each: (each.name, each.version))
