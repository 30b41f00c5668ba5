"""`fewstep config`."""

import json

import pytest
from click.testing import CliRunner

from fewstep.commands.config import config


@pytest.mark.slow
def test_it_prints_what_is_asked_for_with_its_origin(here):
    given = "--params=recipe=ect,tracking.notify=[https://example.org/secret]"
    done = CliRunner().invoke(config, ["student.training", "recipe", "tracking.notify", given])
    lines = done.output.splitlines()
    assert done.exit_code == 0 and lines[0].split() == ["recipe:", "ect", "#", "--params"]
    assert all(line.startswith("student.training.") for line in lines[1:-1]) and len(lines) > 15
    assert lines[-1].split() == ["tracking.notify:", '["https://example.org/..."]', "#", "--params"]
    batch = next(line for line in lines if "batch_size" in line and "micro" not in line)
    assert batch.split("#")[1].strip().startswith("conf/base/parameters/recipes/ect.yml:")


@pytest.mark.slow
def test_an_unknown_name_is_answered_with_the_nearest(here):
    done = CliRunner().invoke(config, ["student.trainin"])
    assert "Did you mean 'student.training'?" in str(done.exception)


def test_the_schema_is_json(here):
    schema = json.loads(CliRunner().invoke(config, ["--schema"]).stdout)
    assert "batch_size" in schema["$defs"]["recipe"]["properties"]["training"]["properties"]
