"""Parameters as they are typed: `network.channel_mult=[1,2],recipe=ect`, read and written."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import ConfigIndexError, ConfigTypeError, OmegaConfBaseException
from yaml import YAMLError

from fewstep.config.merging import NAMES
from fewstep.support.errors import InvalidInput, shown

NEXT = re.compile(r"\s*[\w.\-]+\s*=")  # what follows a comma between two parameters
ANYTHING = re.compile("")
PAIRS = {"[": "]", "{": "}", "(": ")"}
PLAIN = re.compile(r"[\w./~+@:-]+")


def read_params(text: str) -> dict[str, Any]:
    """The parameters of a text, nested: {"network": {"channel_mult": [1, 2]}, "recipe": "ect"}.

    A comma inside of brackets or quotes belongs to a value, and so does one that no `name=` follows: paths may have
    commas. Values are YAML, but there are no comments, and names of data sets, recipes and trials are text. Raises
    ValueError for an item that is no `name=value`, and for a value that is empty or no YAML.
    """
    found = OmegaConf.create()
    for item in parts(text, NEXT):
        name, sign, value = item.partition("=")
        if not sign or not name.strip():
            raise InvalidInput(f"--params must be name=value, or several with commas between them, got {item!r}.")
        if not value.strip():
            raise InvalidInput(
                f"--params: {name.strip()} has no value. Give it one, or write {name.strip()}=null for its default."
            )
        try:
            found.merge_with_dotlist([f"{name.strip()}={_as_typed(name.strip(), value.strip())}"])
        except (ConfigIndexError, ConfigTypeError) as problem:
            raise InvalidInput(
                f"--params: {name.strip()} has no place in what stands before it. Give a list or a section as a whole: "
                "network.channel_mult=[1,2,3]"
            ) from problem
        except (YAMLError, OmegaConfBaseException, ValueError, LookupError, AttributeError, RecursionError) as problem:
            raise InvalidInput(
                f"--params: the value of {name.strip()} cannot be read, got {shown(value.strip())}. Close its brackets "
                f"and quotes; text with special characters goes in quotes: --params=\"{name.strip()}='...'\""
            ) from problem
    return cast(dict[str, Any], OmegaConf.to_container(found))


def _as_typed(name: str, value: str) -> str:
    """YAML of a value that YAML would read as another: the data set 007 is no number, and #ff0000 no comment."""
    other = name in NAMES or value.startswith("#") or " #" in value
    plain = value[0] not in "'\"[{" and value not in ("null", "~")
    return json.dumps(value, ensure_ascii=False) if other and plain else value


def write_params(params: Mapping[str, Any]) -> str:
    """The text that read_params reads as these."""
    return ",".join(f"{name}={value}" for name, value in _flat(params))


def parts(text: str, following: re.Pattern[str] = ANYTHING) -> Iterator[str]:
    """Parts of a text between its commas; those in brackets or quotes belong to a part.

    following: what follows a comma that separates two parts.
    """
    start, closing, quote = 0, [], ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and text[place - 1 : place] in ("", "=", ",", " ", ":", *PAIRS):
            quote = sign
        elif sign in PAIRS:
            closing.append(PAIRS[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
        elif sign == "," and not closing and following.match(text, place + 1):
            yield text[start:place].strip()
            start = place + 1
    if rest := text[start:].strip().rstrip(","):
        yield rest


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, str) and PLAIN.fullmatch(value) and OmegaConf.create(f"x: {value}").x == value:
            yield f"{above}{name}", value
        else:
            yield f"{above}{name}", json.dumps(value, ensure_ascii=False)
