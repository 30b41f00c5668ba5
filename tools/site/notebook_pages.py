"""A notebook as a page: its text, its code, and what the code printed and drew when the notebook was last run."""

import json
from base64 import b64decode
from pathlib import PurePosixPath

COLAB = "colab-install"  # the cell of tools/colab.py, which does nothing elsewhere


def notebook_page(name: str, text: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and {place on the site: PNG}. name: its place in the repository; text: its JSON."""
    file = PurePosixPath(name)
    pictures: dict[str, bytes] = {}
    title, *parts = [
        part for cell in json.loads(text)["cells"] if cell["id"] != COLAB for part in _parts(cell, file.stem, pictures)
    ]
    download = f"*This page is a notebook: [{file.name}]({file.name}).*"
    head, _, rest = title.partition("\n")
    return "\n\n".join([head, download, rest, *parts]), {f"notebooks/{place}": png for place, png in pictures.items()}


def _parts(cell: dict, stem: str, pictures: dict[str, bytes]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    parts = [f"```python\n{source}\n```"] if source else []
    printed = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
    if printed:
        parts.append(f"```text\n{printed.rstrip()}\n```")
    for data in (output["data"] for output in cell["outputs"] if "image/png" in output.get("data", {})):
        place = f"{stem}_{len(pictures) + 1}.png"
        pictures[place] = b64decode("".join(data["image/png"]))
        parts.append(f"![]({place})")
    return parts
