"""How parameters are merged: files of one folder, an overlay over the base, and --params over both."""

import re
from collections.abc import Iterable
from typing import Any

from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name
from fewstep.support.validation import SECTION

EVERY = "every"  # in the recipes of an overlay: what holds for every recipe
RESERVED = {"teacher", "reference", "comparison", "sweeps", EVERY}
LIKE = "like"  # in a recipe's `earlier`: the name of the recipe that it is, but for what it says
NAMES = ("dataset", "recipe", "trial")  # the parameters that places are named after
NAME = r"\w[\w.-]{0,99}"


def overlaid(config: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The overlay over the configuration: first what it says of every recipe, then what it says of one."""
    recipes = _section(overlay, "recipes")
    if EVERY in recipes:
        config = merged(config, {"recipes": dict.fromkeys(_section(config, "recipes"), recipes[EVERY])})
        overlay = {**overlay, "recipes": {**recipes, EVERY: None}}
    return merged(config, overlay)


def merged(below: Any, above: Any) -> Any:
    """above over below, key by key; another `name` replaces a whole section that has one, null takes one away."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if "name" in below and above.get("name", below["name"]) != below["name"]:
        return above
    both = {**below, **{k: merged(below[k], v) if k in below else v for k, v in above.items()}}
    return {k: v for k, v in both.items() if v is not None}


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters with every recipe whole, as `students`, and the chosen one as `student`.

    A recipe's network is `network` with what the recipe says of it; `student` has the last word on the chosen recipe.
    Where a recipe has an earlier one, that is whole too. Raises ValueError for names that cannot be.
    """
    config, recipes = dict(config), _section(config, "recipes")
    network = {"network": _section(config, "network")}
    config["students"] = {
        name: {**merged(network, _section(recipes, name, "recipes.")), "name": name} for name in recipes
    }
    del config["recipes"]
    if taken := RESERVED & recipes.keys():
        raise InvalidInput(f"a recipe must not be called {', '.join(taken)}, which means something else: rename it.")
    for kind, each in (("dataset", config.get("dataset")), *(("a recipe's name", name) for name in recipes)):
        if not re.fullmatch(NAME, str(each)):
            raise InvalidInput.of(kind, each, "a name of at most 100 letters, digits, '_', '-' and '.'")
    _check_trial(config.get("trial"), {*recipes, *RESERVED})
    name = check_name("recipe", config.get("recipe", ""), recipes)
    config["student"] = config["students"][name] = merged(config["students"][name], _section(config, "student"))
    config["teacher"] = {**merged(network, _section(config, "teacher")), "name": "teacher"}
    known = {**config["students"], "teacher": config["teacher"]}
    config["students"] = {each: with_earlier(each, known) for each in config["students"]}
    return config | {"student": config["students"][name]}


def with_earlier(name: str, recipes: dict[str, dict[str, Any]], later: tuple[str, ...] = ()) -> dict[str, Any]:
    """The recipe of a name, whose `earlier`, {like: name of a recipe or teacher, ...changes}, is a whole recipe too.

    later: the names of those that come after it, which it must not be.
    """
    recipe = recipes[name]
    if "earlier" not in recipe:
        return recipe
    changes = dict(_section(recipe, "earlier", f"recipes.{name}."))
    allowed = [each for each in recipes if each not in (name, *later)]
    if "name" in changes:
        raise InvalidInput(f"recipes.{name}.earlier.name must be left out: {LIKE} says which recipe it is.")
    before = check_name("recipe or teacher", str(changes.pop(LIKE, "")), allowed, f"recipes.{name}.earlier.{LIKE}")
    return {**recipe, "earlier": merged(with_earlier(before, recipes, (name, *later)), changes)}


def _check_trial(trial: object, taken: set[str]) -> None:
    """Raise ValueError for the name of a trial whose folder would be that of another student. None: there is none."""
    if trial is None:
        return
    if not re.fullmatch(f"({NAME}/)?{NAME}", str(trial)):
        raise InvalidInput.of(
            "trial", trial, "a name of letters, digits, '_', '-' and '.', or two with a slash between"
        )
    folder, slash, _ = str(trial).partition("/")
    if folder in taken and not (slash and folder == "sweeps"):
        raise InvalidInput(f"trial must be another name, got {trial!r}: {folder} is the folder of another student.")


def may_be_trial(name: str, recipes: Iterable[str]) -> bool:
    """Whether a folder of this name is that of a trial, and not of a recipe or of something else."""
    try:
        _check_trial(name, {*recipes, *RESERVED})
    except InvalidInput:
        return False
    return True


def _section(config: dict[str, Any], name: str, place: str = "") -> dict[str, Any]:
    """What a section holds, {} where there is none. Raises ValueError for anything else than a section."""
    if not isinstance(found := config.get(name, {}), dict):
        raise InvalidInput.of(f"{place}{name}", found, SECTION)
    return found
