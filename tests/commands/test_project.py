"""What commands say of the project."""

import pytest

from fewstep.pipelines.places import command_of


@pytest.mark.parametrize(
    "env, command",
    [
        (None, "kedro run --pipelines=ingest"),
        ("base", "kedro run --pipelines=ingest"),
        ("local", "kedro run --pipelines=ingest"),
        ("trig", "kedro run --env=trig --pipelines=ingest"),
    ],
)
def test_a_remedy_is_of_the_same_configuration(env, command):
    assert command_of("ingest", env) == command


def test_without_pipelines_it_is_the_whole_journey():
    assert (command_of(), command_of(env="trig")) == ("kedro run", "kedro run --env=trig")
