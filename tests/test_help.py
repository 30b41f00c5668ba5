"""What commands say of themselves."""

import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import fewstep
from fewstep.cli import cli, main


def tree(command: click.Command, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Every command below one, groups too, by its words."""
    found = {path: command}
    for name, each in below(command).items():
        found |= tree(each, (*path, name))
    return found


def below(command: click.Command) -> dict[str, click.Command]:
    """The commands of a group by their names."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    return {name: command.get_command(context, name) for name in command.list_commands(context)}


OURS = {path: command for path, command in tree(main).items() if path}


@pytest.mark.parametrize("path", OURS, ids=" ".join)
def test_a_command_has_a_line_and_examples_that_parse(path, takes):
    shown = CliRunner().invoke(main, [*path, "--help"], prog_name="fewstep")
    assert shown.exit_code == 0, shown.output
    assert len(OURS[path].get_short_help_str(100)) > 10
    words = " ".join(("fewstep", *path))
    lines = [line.split("&&")[-1].strip() for line in shown.output.splitlines()]
    examples = [line for line in lines if line.startswith(words) and line != words]
    examples += [line for line in lines if line == words and "Usage" not in line]
    assert examples, shown.output
    for example in examples:
        takes(main, shlex.split(example)[1:])


@pytest.mark.parametrize("group", [main, cli], ids=["fewstep", "kedro"])
def test_both_list_what_they_can_do(group):
    listed = CliRunner().invoke(group, ["--help"]).output
    assert len(below(group)) == len(listed.split("Commands:")[1].strip().splitlines())
    for name, command in below(group).items():
        assert command.get_short_help_str(60)[:10] in listed and name in listed


def test_the_version_is_told_and_the_package_runs_as_a_module():
    told = CliRunner().invoke(main, ["--version"]).output
    done = subprocess.run([sys.executable, "-m", "fewstep", "--version"], capture_output=True, text=True, check=True)
    assert fewstep.__version__ in told and fewstep.__version__ in done.stdout


@pytest.mark.parametrize(("word", "said"), [("smaple", "No such command 'smaple'"), ("--help", "Draw samples of")])
def test_help_and_typos_are_answered_without_heavy_imports(word, said):
    heavy = "[name for name in ('torch', 'mlflow', 'pandas', 'pydantic', 'ray') if name in sys.modules]"
    code = f"import sys; from fewstep.cli import main\ntry: main(['{word}'])\nfinally: print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said in done.stderr + done.stdout and done.stdout.splitlines()[-1] == "[]"
