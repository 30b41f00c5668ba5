"""Files of the configuration: what is wrong with one is said with its line, before anything is made of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import (
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingNode,
    MarkedYAMLError,
    Node,
    ScalarNode,
    SequenceNode,
)
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from fewstep.config.merging import NAMES
from fewstep.support.errors import InvalidInput, reason_of, shown

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 50  # sections in sections, or lists in lists: reading deeper ones would end the process
MOST_VALUES = 100_000  # of a file, each anchor counted wherever an alias repeats it
MOST_REPEATED = 5_000  # of these, by aliases: a short file of 60,000 takes half a minute to merge
MEANINGS = {  # the parser's words, and ours
    "found undefined alias": "an alias (*name) stands for an anchor (&name) that is not in the file",
    "mapping values are not allowed in this context": "a second ': ' on one line: put text that has one in quotes",
    "found unhashable key": "a name must be a word or a number, and no list or section",
    "did not find expected key": "the line is indented otherwise than those beside it, or lacks its ':'",
}


OPEN = "'${' is not closed, or holds no name: write ${globals:dataset}, or \\${ for the signs themselves"


class _Constructor(LOADER):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass] (C's or Python's)
    """Makes the values of a file, and says of each that cannot be made where it stands."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as problem:
            raise ConstructorError(None, None, f"no {node.tag.rpartition(':')[2]}", node.start_mark) from problem


# As OmegaConf reads them: a date is text.
_Constructor.yaml_implicit_resolvers = {
    first: [(tag, words) for tag, words in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in LOADER.yaml_implicit_resolvers.items()
}


def load_file(file: Path) -> DictConfig:
    """What a file says. Raises InvalidInput with its name, and the line where there is one."""
    check_file(file)
    try:
        return cast(DictConfig, OmegaConf.load(file))
    except (OmegaConfBaseException, ValueError) as problem:
        said = reason_of(problem).partition("\n")[0].rstrip(".")
        place = tuple(str(getattr(problem, "full_key", None) or "").split("."))
        line = lines_of(file).get(place)
        raise InvalidInput(f"{file}{f', line {line}' if line else ''}: {said}.") from None


def check_file(file: Path) -> None:
    """Raise InvalidInput, with the line where there is one, unless a file is valid YAML (or JSON) that names values."""
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise InvalidInput(f"{file}, line {line}: the file must be text in UTF-8.") from None
    try:
        _check_depth(text, file)
        root = yaml.compose(text, Loader=LOADER)
    except MarkedYAMLError as problem:
        raise InvalidInput(f"{file}, {_explain(problem, text.splitlines())}.") from None
    except ReaderError as problem:
        line = text[: problem.position].count("\n") + 1
        raise InvalidInput(
            f"{file}, line {line}: a character that cannot be shown ({problem.character:#04x})."
        ) from None
    if root is None:
        return
    if not isinstance(root, MappingNode):
        raise InvalidInput(f"{file}, {_line(root)}: the file must hold names with values, as in recipe: ect.")
    _check_size(root, file)
    _check_keys(root, file)
    _check_names(root, file)
    _check_references(root, file)
    try:
        yaml.load(text, Loader=_Constructor)
    except MarkedYAMLError as problem:
        raise InvalidInput(f"{file}, {_explain(problem, text.splitlines())}.") from None


def lines_of(file: Path) -> dict[tuple[str, ...], int]:
    """The line of each value, by the names that lead to it."""
    found: dict[tuple[str, ...], int] = {}

    def visit(node: Node, place: tuple[str, ...]) -> None:
        found.setdefault(place, node.start_mark.line + 1)
        pairs = node.value if isinstance(node, MappingNode) else []
        for key, value in sorted(pairs, key=lambda pair: pair[0].value == "<<"):  # what stands there itself is first
            visit(value, place if key.value == "<<" else (*place, str(key.value)))

    if root := yaml.compose(file.read_text(), Loader=LOADER):
        visit(root, ())
    return found


def _explain(problem: MarkedYAMLError, lines: list[str]) -> str:
    """Where and what, in our words."""
    # PyYAML has one class for all that its scanner finds, and one for its parser: only their words tell faults apart.
    place, context, said = problem.problem_mark, problem.context_mark, str(problem.problem)
    if place is None:
        return said
    line = lines[place.line] if place.line < len(lines) else ""
    found = line[place.column : place.column + 1]
    if "found character that cannot start any token" in said:
        why = "a tab: indent with spaces" if found == "\t" else f"text that begins with {found!r} must be in quotes"
        return f"line {place.line + 1}: {why}"
    if context and "flow" in str(problem.context):
        if context.line >= len(lines):
            return f"line {len(lines)}: the file ends while a bracket is open"
        opened = lines[context.line][context.column]
        return f"line {context.line + 1}: the bracket {opened!r} is not closed, or a comma is missing after it"
    if context and "quoted scalar" in str(problem.context):
        return f"line {context.line + 1}: the quotation mark is not closed"
    return f"line {place.line + 1}: {MEANINGS.get(said, said)}"


def _check_depth(text: str, file: Path) -> None:
    """Raise InvalidInput for a file that is nested too deeply, before it is read as a whole."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise InvalidInput(f"{file}, {_line(event)}: at most {DEEPEST} levels of nesting are allowed.")


def _check_size(root: Node, file: Path) -> None:
    """Raise InvalidInput where aliases make a file too large, or lead back to where they stand."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in inside:
            raise InvalidInput(f"{file}, {_line(node)}: an alias (*name) stands inside its own anchor (&name).")
        if id(node) not in sizes:
            inside.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
            inside.remove(id(node))
        return sizes[id(node)]

    found = size(root)
    if (repeated := found - len(sizes)) > MOST_REPEATED:
        raise InvalidInput(f"{file}: its aliases repeat {repeated:,} values; at most {MOST_REPEATED:,} are allowed.")
    if found > MOST_VALUES:
        raise InvalidInput(f"{file}: it has {found:,} values; at most {MOST_VALUES:,} are allowed.")


def _check_keys(root: Node, file: Path) -> None:
    """Raise InvalidInput for a name that is given twice in one place."""
    for node in _nodes(root):
        first: dict[str, Node] = {}
        for key in (key for key, _ in (node.value if isinstance(node, MappingNode) else [])):
            if isinstance(key, ScalarNode) and first.setdefault(key.value, key) is not key and key.value != "<<":
                before = first[key.value].start_mark.line + 1
                raise InvalidInput(f"{file}, {_line(key)}: {key.value!r} is given twice, first in line {before}.")


def _check_names(root: MappingNode, file: Path) -> None:
    """Raise InvalidInput for a name that YAML reads as another number than is written: 010 would be 8."""
    for key, value in root.value:
        number = isinstance(value, ScalarNode) and value.tag.endswith(":int")
        if key.value in NAMES and number and not re.fullmatch("0|[1-9][0-9]*", value.value):
            raise InvalidInput(
                f"{file}, {_line(value)}: {key.value} must be a name, and YAML reads {value.value} as another number: "
                "put it in quotes."
            )


def _check_references(root: Node, file: Path) -> None:
    """Raise InvalidInput for a value whose `${` is not closed, or that refers to nothing that has a name."""
    for node in _nodes(root):
        if isinstance(node, ScalarNode) and "${" in node.value:
            try:
                OmegaConf.create({"value": node.value})
            except OmegaConfBaseException:
                raise InvalidInput(f"{file}, {_line(node)}: {OPEN}, got {shown(node.value)}.") from None


def _nodes(root: Node) -> Iterator[Node]:
    """Every node once, whatever repeats it."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            waiting += _children(node)
            yield node


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        yield from (each for pair in node.value for each in pair)
    elif isinstance(node, SequenceNode):
        yield from node.value


def _line(node: Node | Event) -> str:
    return f"line {node.start_mark.line + 1}"
