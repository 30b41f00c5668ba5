"""A report for people: one HTML file that asks nothing of the network and reads on any screen."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Figure:
    """narrow: the same picture, made for a phone."""

    caption: str
    picture: Image.Image
    narrow: Image.Image | None = None


@dataclass(frozen=True)
class Table:
    """head: empty where the rows are names and values."""

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    caption: str = ""


@dataclass(frozen=True)
class Part:
    """wide: its figures take the whole width."""

    title: str
    words: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    wide: bool = False


def render(title: str, lead: str, parts: Sequence[Part]) -> str:
    """The file's text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    return environment.get_template("report.html").render(title=title, lead=lead, parts=parts)


def figures_of(parts: Sequence[Part]) -> dict[str, Image.Image]:
    """{name: picture} of every figure, as "quality_against_cost_01"."""
    return {
        f"{part.title.lower().replace(' ', '_')}_{number:02d}": figure.picture
        for part in parts
        for number, figure in enumerate(part.figures, 1)
    }


def data_uri(picture: Image.Image) -> str:
    """A picture within the text."""
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
