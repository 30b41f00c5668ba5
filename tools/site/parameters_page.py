"""Every parameter in tables: what its values may be, its default, the value in conf/base, and what it means."""

from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from fewstep.config.parameter_descriptions import REQUIRED, Chapter, Setting, chapters

BASE = Path(__file__).parents[2] / "conf" / "base" / "parameters"
GROUPS = {  # {chapters whose title begins so: (title of the group, what is said of all of them)}
    "Source": ("Data sources", "`data.source.name` chooses one: [your own data](../data.md)."),
    "Network": (
        "Networks",
        "`network.name` chooses one. `teacher.network`, and `network` in a recipe, change single settings.",
    ),
    "Recipe": (
        "Recipes",
        "`student` is the chosen recipe, `teacher` has the same parameters, and `recipes` has all recipes by name: "
        "`student.seed`, `teacher.seed`, `recipes.ect.seed`.",
    ),
    "student.noise": ("Noise", "The ends of the noise are set once for a recipe, under `noise`."),
    "student.training": (
        "Training",
        "Under `student.training` and `teacher.training`. Lengths are in images seen, so they mean the same at every "
        "batch size.",
    ),
    "Method": ("Methods", "`student.objective.name` chooses one. [Methods](../methods.md) has the losses."),
    "Task": ("Editing tasks", "Under `editing.tasks`: [editing](../editing.md)."),
}


def parameters_page() -> str:
    """What follows the head of docs/reference/parameters.md."""
    given = _base()
    parts: list[str] = []
    for kind, found in groupby(chapters(), _kind):
        group = list(found)
        if kind not in GROUPS:
            parts += [_chapter(each, f"## {each.title}", given) for each in group]
            continue
        title, words = GROUPS[kind]
        parts.append(f"## {title}\n\n{words}\n")
        single = len(group) == 1
        parts += [_chapter(each, "" if single else f"### {each.title.split()[1]}", given) for each in group]
    return "\n".join(parts)


def _kind(chapter: Chapter) -> str:
    return chapter.title.split()[0]


def _base() -> dict[tuple[str, ...], Any]:
    """What conf/base sets, by place, recipes excepted."""
    found: dict[tuple[str, ...], Any] = {}
    for file in sorted(BASE.glob("*.yml")):
        _flat(yaml.safe_load(file.read_text()), (), found)
    return found


def _flat(value: Any, place: tuple[str, ...], found: dict[tuple[str, ...], Any]) -> None:
    found[place] = value
    if isinstance(value, dict):
        for name, below in value.items():
            _flat(below, (*place, str(name)), found)


def _chapter(chapter: Chapter, head: str, given: dict[tuple[str, ...], Any]) -> str:
    lines = [head, ""] if head else []
    if not chapter.settings:
        return "\n".join([*lines, "It has no parameters.", ""])
    lines += ["| parameter | values | default |", "|--|--|--|"]
    place = [*filter(None, chapter.place.split("."))]
    return "\n".join([*lines, *(_row(setting, given.get((*place, setting.name))) for setting in chapter.settings), ""])


def _row(setting: Setting, base: Any) -> str:
    """The name with its comment, the values, and the default with what conf/base has instead."""
    values = setting.kind if setting.allowed in ("", setting.kind) else _range(setting)
    default = "must be given" if setting.default is REQUIRED else _code(setting.default)
    differs = base is not None and not str(base).startswith("${") and _plain(base) != _plain(setting.default)
    shown = f"{default}<br>conf/base: {_code(base)}" if differs else default
    return f"| `{setting.name}`<br>{_cell(setting.comment)} | {_cell(values)} | {shown} |"


def _range(setting: Setting) -> str:
    if setting.schema.get("enum") or setting.kind == "text":
        return setting.allowed
    return f"{setting.kind}, {setting.allowed}"


def _plain(value: Any) -> Any:
    return [*map(_plain, value)] if isinstance(value, tuple | list) else value


def _code(value: Any) -> str:
    if value is None or value == {} or value == ():
        return "none"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"`{value:_}`"
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
