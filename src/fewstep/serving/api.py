"""What the server takes and answers, as OpenAPI and as a page, made from the types of requests."""

import html
import json
from functools import cache
from importlib.resources import files
from typing import Any

import fewstep
from fewstep.serving.most import MOST_EVALUATIONS, MOST_IMAGES, MOST_NFE
from fewstep.serving.request import Request

REFUSALS = {
    "400": "a request that cannot be answered",
    "413": "the body is too large",
    "415": "the body is not JSON",
    "503": "too many calls are waiting",
}
EXAMPLE = {"num_images": 4, "nfe": 1, "seed": 0}
LABEL = {"type": ["string", "integer", "null"], "description": "a class by its name or number"}
ANSWER = {
    "type": "object",
    "properties": {
        "images": {"type": "array", "items": {"type": "string"}, "description": "PNGs in base64, of a model of images"},
        "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "nfe": {"type": "integer"},
        "seed": {"type": "integer"},
        "label": {"type": ["integer", "null"]},
        "class": {"type": "string"},
        "levels": {"type": "array", "items": {"type": "number"}, "description": "noise levels that were used"},
        "model": {"type": ["string", "null"], "description": "the registered model"},
        "version": {"type": ["integer", "null"]},
        "model_sha256": {"type": "string"},
    },
}


@cache
def openapi() -> dict[str, Any]:
    """The description of the server, OpenAPI 3.1."""
    request = Request.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = {**request.pop("$defs", {}), "Request": request, "Answer": ANSWER}
    request["properties"]["num_images"] |= {"minimum": 1, "maximum": MOST_IMAGES}
    request["properties"]["nfe"] |= {"minimum": 1, "maximum": MOST_NFE}
    request["properties"]["label"] |= LABEL
    refusals = {
        status: {"description": words, "content": _json(_object(message={"type": "string"}))}
        for status, words in REFUSALS.items()
    }
    asked, answered = _object(inputs=_list("Request", MOST_IMAGES)), _object(predictions=_list("Answer"))
    call = {
        "summary": "Draw or edit images",
        "description": f"At most {MOST_IMAGES} images and {MOST_EVALUATIONS:,} evaluations (images x nfe) in a call.",
        "requestBody": {"required": True, "content": _json(asked, {"inputs": [EXAMPLE]})},
        "responses": {"200": {"description": "an answer for each request", "content": _json(answered)}, **refusals},
    }
    up = {"summary": "Whether the server is up", "responses": {"200": {"description": "it is"}}}
    counts = {"summary": "What Prometheus reads", "responses": {"200": {"description": "counts, as text"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fewstep", "version": fewstep.__version__, "description": "Images from few network calls."},
        "paths": {"/invocations": {"post": call}, "/ping": {"get": up}, "/metrics": {"get": counts}},
        "components": {"schemas": parts},
    }


@cache
def page() -> str:
    """The same for people, in one file of HTML: the fields of a request, and a form to try it."""
    request = openapi()["components"]["schemas"]["Request"]
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(_words(field))}<td>{_default(field)}"
        for name, field in request["properties"].items()
    )
    text = files("fewstep.serving").joinpath("api_page.html").read_text()
    limits = openapi()["paths"]["/invocations"]["post"]["description"]
    return text.replace("{rows}", rows).replace("{limits}", html.escape(limits))


def _words(field: dict[str, Any]) -> str:
    """The type of a field, its range and what it means."""
    kinds = field.get("type") or [part.get("type", "object") for part in field.get("anyOf", [])]
    kinds = ", ".join(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")
    ends = [field.get("minimum"), field.get("maximum")]
    span = "" if None in ends else f", {ends[0]:,} to {ends[1]:,}"
    return f"{kinds or 'object'}{span}{'; ' if 'description' in field else ''}{field.get('description', '')}"


def _default(field: dict[str, Any]) -> str:
    return html.escape(json.dumps(field["default"])) if field.get("default") is not None else ""


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(name: str, most: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return found | ({"maxItems": most} if most else {})


def _json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}
