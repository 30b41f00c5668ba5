"""What the site has besides docs/: README and other pages of the repository, notebooks, generated references.

MkDocs calls these functions. A page is written for GitHub, with links between files of the repository; here they become
links of the site. A file that is linked and is no page is copied into it, so that nothing is asked of another host.
"""

import re
import sys
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from commands_page import commands_page  # noqa: E402
from notebook_pages import notebook_page  # noqa: E402
from parameters_page import parameters_page  # noqa: E402

OUTSIDE = {  # {file of the repository: page of the site}
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
OUTSIDE |= {f"notebooks/{file.name}": f"notebooks/{file.stem}.md" for file in PROJECT.glob("notebooks/*.ipynb")}
ORIGINS = {page: file for file, page in OUTSIDE.items()}
GENERATED = {"commands": commands_page, "parameters": parameters_page}
PLACE = re.compile(r"<!-- generated: (\w+) -->.*?<!-- end -->", re.DOTALL)
ALONE = ("index.md", "tutorial.md")  # in their tabs
LINK = re.compile(r"^```.*?^```|`[^`]*`|(?<=\]\()[^)\s]+(?=\))", re.DOTALL | re.MULTILINE)
LINKED_BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]")  # its words are linked in its place
FOREIGN_PICTURE = re.compile(r"!\[[^\]]*\]\(https?://[^)]*\) ?")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[([](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add pages and pictures that are not in docs/."""
    for name, page in OUTSIDE.items():
        text = (PROJECT / name).read_text()
        if name.endswith(".ipynb"):
            text, pictures = notebook_page(name, text)
            for place, picture in pictures.items():
                files.append(File.generated(config, place, content=picture))
        text = FOREIGN_PICTURE.sub("", LINKED_BADGE.sub(r"[\1]", text))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is generated, and turn links between files of the repository into links of the site."""
    markdown = PLACE.sub(lambda found: GENERATED[found[1]](), markdown)
    here = page.file.src_uri
    if here in ALONE:
        page.meta["hide"] = ["navigation"]
    origin = ORIGINS.get(here, f"docs/{here}")

    def place(link: re.Match[str]) -> str:
        path, sign, anchor = link[0].partition("#")
        if link[0].startswith("`") or not path or re.match(r"\w+:", path):
            return link[0]
        return (
            f"{relpath(_uri(normpath(join(dirname(origin), path)), config, files), dirname(here) or '.')}{sign}{anchor}"
        )

    return LINK.sub(place, markdown)


def _uri(name: str, config: MkDocsConfig, files: Files) -> str:
    """Where the site has a file of the repository, added if it is no page. MkDocs complains of missing ones."""
    file = PROJECT / name
    if file.is_dir():
        name, file = f"{name}/README.md", file / "README.md"
    uri = OUTSIDE.get(name, name.removeprefix("docs/"))
    if file.is_file() and uri not in files.src_uris:
        uri = f"files/{name}"
        if uri not in files.src_uris:
            files.append(File.generated(config, uri, abs_src_path=str(file)))
    return uri


def on_page_content(html: str, **_: object) -> str:
    """Draw formulas as MathML, which browsers show without a script."""
    return FORMULA.sub(
        lambda found: convert(_unescaped(found[2]), display="block" if found[1] == "div" else "inline"), html
    )


def _unescaped(html: str) -> str:
    return html.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
