"""Options that several commands have, as typed."""

import re

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from fewstep.cli import cli, main
from fewstep.commands.options import given_params
from fewstep.support.errors import InvalidInput


def test_a_file_of_parameters_is_below_those_of_the_command_line(tmp_path):
    (file := tmp_path / "my.yml").write_text(
        "recipe: ect\nstudent: {levels: null, seed: 3}\nnetwork: {channel_mult: [1, 2]}\n"
    )
    given = given_params("student.seed=4,dataset=x", file)
    student = {"levels": None, "seed": 4}
    assert given == {"recipe": "ect", "student": student, "network": {"channel_mult": [1, 2]}, "dataset": "x"}
    assert given_params({"recipe": "cd"}, None) == {"recipe": "cd"}  # as kedro run --config has it


def test_a_wrong_file_of_parameters_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="--params-file must be a YAML file of parameters, and there is no"):
        given_params("", tmp_path / "none.yml")
    (file := tmp_path / "my.yml").write_text("a:\n\tb: 1\n")
    with pytest.raises(InvalidInput, match=r"my.yml, line 2: a tab"):
        given_params("", file)


TYPED = {
    "a runner": (
        ["--runner=SequentialRuner"],
        "no runner 'SequentialRuner'. Did you mean 'SequentialRunner'?",
    ),
    "a list": (["--params=network.channel_mult=[0,2]"], "network.channel_mult"),
    "an open bracket": (["--params=network.channel_mult=[1,2"], "network.channel_mult cannot be read, got '[1,2'"),
    "a file": (["--params-file=none.yml"], "there is no none.yml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words, message", TYPED.values(), ids=TYPED)
def test_kedro_run_refuses_in_words(words, message, here):
    bootstrap_project(here)
    result = CliRunner().invoke(cli, ["run", "--env=test", *words])
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output, result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", ["network.channels=32,network.num_blocks=1,", pytest.param("", marks=pytest.mark.check)]
)
def test_a_plan_without_seconds_tries_one_sample(here, size):
    """With no seconds for trials it tries one sample of each network, of up to 296 million weights."""
    words = ["plan", "--env=imagenet64", f"--params={size}launch.threads=1", "--seconds=0"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0 and re.search(r"time: .* a step on this machine", result.output), result.output


def test_parameters_that_do_not_fit_over_their_file_are_said(tmp_path):
    (file := tmp_path / "my.yml").write_text("network: {channel_mult: [1, 2]}\n")
    with pytest.raises(InvalidInput, match=r"--params does not fit over .*my.yml .*give a list or a section"):
        given_params("network.channel_mult.5=5", file)
    file.write_text("a: 1\nrecipe: ${x\n")
    with pytest.raises(InvalidInput, match=r"my.yml, line 2: '\$\{' is not closed"):
        given_params("", file)
