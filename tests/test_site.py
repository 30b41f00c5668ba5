"""The documentation as a site: links lead somewhere, no other host is asked, generated pages are whole."""

import re
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

import pytest

from fewstep.cli import main
from fewstep.config.parameter_descriptions import chapters

PROJECT = Path(__file__).parents[1]
ASKED = re.compile(
    r'<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="([^"]+)"|url\(["\']?([^"\')]+)|@import "([^"]+)"'
)


@pytest.fixture
def generated(monkeypatch):
    """A function that makes a page, by the name of its file in tools/site."""
    monkeypatch.syspath_prepend(str(PROJECT / "tools" / "site"))
    return lambda name, *given: getattr(import_module(name), name.removesuffix("s") if given else name)(*given)


@pytest.mark.slow
def test_every_parameter_is_on_the_page(generated):
    page = generated("parameters_page")
    rows = re.findall(r"^\| `(\w+)`<br>(.+?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert [row[0] for row in rows] == [setting.name for chapter in chapters() for setting in chapter.settings]
    assert ("student_nfe", "`[1, 2, 3, 5, 10]`") in [(row[0], row[3]) for row in rows]
    assert ("batch_size", "`100`<br>conf/base: `200`") in [(row[0], row[3]) for row in rows]


@pytest.mark.slow
def test_every_command_is_on_the_page(generated):
    heads = re.findall(r"^##+ fewstep (.*)", generated("commands_page"), re.MULTILINE)
    assert [head for head in heads if " " not in head] == main.list_commands(None)
    assert "registry rollback" in heads


@pytest.mark.parametrize("name", ["flow", "student", "editing"])
def test_a_notebook_is_a_page_with_its_pictures(name, generated):
    page, pictures = generated(
        "notebook_pages", f"notebooks/{name}.ipynb", (PROJECT / f"notebooks/{name}.ipynb").read_text()
    )
    assert page.startswith("# ") and "```python\n" in page and len(pictures) >= 2
    assert all(png.startswith(b"\x89PNG") and f"({Path(place).name})" in page for place, png in pictures.items())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    pytest.importorskip("mkdocs", reason="of requirements-extras.lock")
    pytest.importorskip("latex2mathml", reason="of requirements-extras.lock")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> dict[str, str]:
    return {
        file.relative_to(site).as_posix(): file.read_text() for file in site.rglob("*.html") if file.name != "404.html"
    }


@pytest.mark.check
def test_every_link_of_the_site_leads_somewhere(site):
    texts = pages(site)
    anchors = {
        name: {unescape(found) for found in re.findall(r'\b(?:id|name)="([^"]+)"', text)}
        for name, text in texts.items()
    }
    lost = []
    for name, text in texts.items():
        for link in {unescape(found) for found in re.findall(r'<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"', text)}:
            path, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            target = normpath(join(dirname(name), unquote(path))) if path else name
            if not (site / target).exists() or (
                anchor and target in anchors and unquote(anchor) not in anchors[target]
            ):
                lost.append(f"{name}: {link}")
    assert len(texts) > 25 and lost == []


@pytest.mark.check
def test_the_site_asks_no_other_host_for_anything(site):
    asked = {
        f"{file.relative_to(site)}: {address}"
        for file in [*site.rglob("*.html"), *site.rglob("*.css")]
        for address in filter(None, (part for found in ASKED.findall(file.read_text()) for part in found))
        if re.match(r"(https?:)?//", address)
    }
    assert asked == set()


@pytest.mark.check
def test_formulas_are_drawn_without_a_script(site):
    texts = pages(site)
    assert [name for name, text in texts.items() if "arithmatex" in text] == []
    assert len(re.findall('<math [^>]*display="block"', texts["dual_layers.html"])) == 2
    assert texts["notebooks/flow.html"].count("<math") > 5
