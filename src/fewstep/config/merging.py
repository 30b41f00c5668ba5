"""How parameters are merged: files of one folder, an overlay over the base, and --params over both."""

import re
from typing import Any

from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

EVERY = "every"  # in the recipes of an overlay: what holds for every recipe
RESERVED = {"teacher", "reference", "comparison", EVERY}


def overlaid(config: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The overlay over the configuration: first what it says of every recipe, then what it says of one."""
    recipes = overlay.get("recipes", {})
    if EVERY in recipes:
        config = merged(config, {"recipes": dict.fromkeys(config["recipes"], recipes[EVERY])})
        overlay = {**overlay, "recipes": {**recipes, EVERY: None}}
    return merged(config, overlay)


def merged(below: Any, above: Any) -> Any:
    """above over below, key by key; a section of another `name` replaces the whole one, null takes one away."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if above.get("name", below.get("name")) != below.get("name"):
        return above
    both = {**below, **{k: merged(below[k], v) if k in below else v for k, v in above.items()}}
    return {k: v for k, v in both.items() if v is not None}


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters with every recipe whole, as `students`, and the chosen one as `student`.

    A recipe's network is `network` with what the recipe says of it; `student` has the last word on the chosen recipe.
    Raises ValueError for names that cannot be.
    """
    config = dict(config)
    recipes, network = config.pop("recipes"), {"network": config.get("network", {})}
    config["students"] = {name: {**merged(network, recipe), "name": name} for name, recipe in recipes.items()}
    if taken := RESERVED & recipes.keys():
        raise InvalidInput(f"a recipe must not be called {', '.join(taken)}, which means something else: rename it.")
    if not re.fullmatch(r"\w[\w.-]*", str(config.get("dataset"))):
        raise InvalidInput.of("dataset", config.get("dataset"), "a name of letters, digits, '_', '-' and '.'")
    name = check_name("recipe", config.get("recipe"), recipes)
    config["student"] = config["students"][name] = merged(config["students"][name], config.get("student", {}))
    config["teacher"] = {**merged(network, config.get("teacher", {})), "name": "teacher"}
    return config
