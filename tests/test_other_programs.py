"""What the README and docs/ have the reader type for other programs is what these programs take."""

import ast
import json
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TEXT = "\n".join(
    file.read_text()
    for file in (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(PROJECT.glob("docs/*.md")))
)
OURS = {"kedro", "fewstep", "make"}  # test_readme
SYSTEM = {"cp", "export", "git", "mkdir", "source"}
SPAN = r"`((?:[A-Z_]+=\S+ )?(?:dvc|mlflow|python|pip|ray|curl) [^`]*)`"


def commands() -> list[list[str]]:
    """Each as its words; settings of the environment before it are left out."""
    blocks = re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    written = [line for block in blocks for line in block.splitlines()] + re.findall(SPAN, TEXT)
    parts = [part for text in written for part in re.split(r" && ", text)]
    found = {tuple(shlex.split(re.sub(r"^[A-Z_]+=\S+ ", "", part), comments=True)) for part in parts}
    return [list(words) for words in sorted(found) if words and words[0] not in OURS | SYSTEM]


def check_dvc(words: list[str], _) -> None:
    from dvc.cli import parse_args

    parse_args(words)
    assert [word for word in words if word.endswith(".yaml") and not (PROJECT / word).exists()] == []


def check_mlflow(words: list[str], takes) -> None:
    from mlflow.cli import cli

    takes(cli, words)


def check_ray(words: list[str], takes) -> None:
    from ray.scripts.scripts import cli

    takes(cli, words)


def check_python(words: list[str], _) -> None:
    if words[0] == "-c":
        ast.parse(words[1])
        return
    if words[0] == "-m":
        place = PROJECT / "src" / words[1].replace(".", "/")
        assert (place / "__main__.py").exists() or "__main__" in place.with_suffix(".py").read_text()
        return
    script = (PROJECT / words[0]).read_text()
    assert [word for word in words[1:] if word.startswith("-") and f'"{word}"' not in script] == []


def check_pip(words: list[str], _) -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[:2] == ["install", "-e"] and re.fullmatch(r"\.\[(\w+)\]", words[2])[1] in extras


def check_curl(words: list[str], _) -> None:
    from fewstep.serving.request import Request, check_fields

    for given in json.loads(words[words.index("-d") + 1])["inputs"]:
        check_fields(Request.model_validate(given))
    port = re.search(r"fewstep serve .*--port (\d+)", TEXT)[1]
    assert f"localhost:{port}/invocations" in words


CHECKS = {
    "dvc": check_dvc,
    "mlflow": check_mlflow,
    "ray": check_ray,
    "python": check_python,
    "pip": check_pip,
    "curl": check_curl,
}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_one_that_its_program_takes(words, takes):
    CHECKS[words[0]](words[1:], takes)


def test_there_are_commands_of_each_program():
    assert {words[0] for words in commands()} == set(CHECKS)


@pytest.mark.parametrize("block", re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
def test_python_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            assert [name.name for name in node.names if not hasattr(import_module(node.module), name.name)] == []
