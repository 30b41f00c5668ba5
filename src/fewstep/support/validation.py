"""The errors that pydantic finds, in our words. They come as dictionaries: pydantic itself is not imported here."""

from collections.abc import Mapping
from typing import Any

from fewstep.support.errors import InvalidInput

WHOLE, NUMBER, LIST, SECTION = "a whole number", "a number", "a list", "a section with parameters of its own"
ALLOWED = {
    "greater_than": "above {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "below {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "finite_number": "finite",
    "literal_error": "{expected}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "none_required": "null",
}
ALLOWED |= dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), WHOLE)
ALLOWED |= dict.fromkeys(("float_type", "float_parsing"), NUMBER)
ALLOWED |= dict.fromkeys(("bool_type", "bool_parsing"), "true or false")
ALLOWED |= dict.fromkeys(("string_type", "string_sub_type"), "text")
ALLOWED |= dict.fromkeys(("list_type", "tuple_type", "set_type"), LIST)
ALLOWED |= dict.fromkeys(
    ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), SECTION
)


def error_of(name: str, found: Mapping[str, Any]) -> InvalidInput:
    """One of ValidationError.errors() as an error of the parameter `name`."""
    if found["type"] in ("missing", "missing_argument"):
        return InvalidInput(f"{name} must be given")
    if found["type"] in ALLOWED:
        return InvalidInput.of(name, found["input"], ALLOWED[found["type"]].format(**found.get("ctx", {})))
    return InvalidInput(f"{name}: {found['msg']}", value=found["input"])
