"""The commands that messages name."""

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


def test_it_repeats_what_was_asked_for():
    params = {"dataset": "cats", "network": {"channel_mult": [1, 2]}}
    command = "kedro run --pipelines=compare --nodes=rank --params='dataset=cats,network.channel_mult=[1, 2]'"
    assert command_of("compare", params=params, nodes="rank") == command


def test_without_pipelines_it_is_the_whole_journey():
    assert (command_of(), command_of(env="trig")) == ("kedro run", "kedro run --env=trig")
