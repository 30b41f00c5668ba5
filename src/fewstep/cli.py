"""The entry: what `kedro` has in this project, and `fewstep`."""

import copy
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from fewstep import __version__
from fewstep.commands.error_messages import refusing
from fewstep.commands.lazy import LazyGroup
from fewstep.commands.options import given_params, with_params
from fewstep.commands.project import context_of
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_arguments, check_name

RUNNERS = ("SequentialRunner", "ThreadRunner", "ParallelRunner")  # of Kedro; another by its whole name
FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")


@click.group(name="fewstep")
def cli() -> None:
    """Commands of this project."""


def check_known(**options: Any) -> None:
    """Raise InvalidInput for a runner, pipelines, nodes and data sets that `kedro run` was given and are not there."""
    check_runner(options["runner"] or RUNNERS[0], options["runner_params"] or {})
    names = [*filter(None, (options["pipeline"], *(options["pipelines"] or ())))]
    for name in names:
        check_name("pipeline", name, pipelines)
    nodes = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    for option in ("node_names", "from_nodes", "to_nodes"):
        for name in options[option] or ():
            check_name("node", name, nodes)
    chosen = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    try:
        chosen.filter(**{option: options[option] or None for option in FILTERS}, node_namespaces=options["namespaces"])
    except ValueError as problem:  # Kedro's, in words
        raise InvalidInput(f"the options leave nothing to run: {str(problem).partition('. ')[0]}") from problem


def check_runner(name: str, arguments: dict) -> None:
    """Raise InvalidInput unless Kedro can make this runner with these --runner-params."""
    if "." not in name:
        check_name("runner", name, RUNNERS)
    try:
        runner = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError, ValueError) as problem:
        raise InvalidInput(
            f"--runner must be {', '.join(RUNNERS)} or a class by its whole name: {problem}"
        ) from problem
    check_arguments(f"the runner {name}", runner, arguments)


def run_journey(**options: Any) -> None:
    """What `kedro run` does; without pipelines, those of the journey that the chosen recipe needs."""
    options["params"] = given_params(options["params"], options.pop("params_file"))
    check_known(**options)
    if not (options["pipeline"] or options["pipelines"] or options["conf_source"]):
        options["pipelines"] = journey_of(options["env"], options["params"])
    assert kedro_run.callback is not None
    kedro_run.callback(**options)


def journey_of(env: str | None, params: dict) -> list[str]:
    """The pipelines of the chosen recipe."""
    from fewstep.pipelines.journey import journey

    given = context_of(env, runtime=params).typed
    return journey(given.student, given.data.autoencoder)


run = copy.copy(kedro_run)
run.params, run.callback = with_params(kedro_run.params), run_journey
cli.add_command(refusing(run))


MODULES = {
    "plan": "plan",
    "profile": "profile",
    "config": "config",
    "sweep": "sweep",
    "sample": "sample",
    "edit": "edit",
    "evaluate": "evaluation",
    "statistics": "statistics",
    "drift": "drift",
    "demo": "demo",
    "registry": "registry",
    "import": "exchange",
    "export": "exchange",
    "average": "average",
    "push": "hub",
    "serve": "serve",
    "verify": "verify",
}


@click.version_option(__version__, prog_name="fewstep")
@click.group(cls=LazyGroup, modules={name: f"fewstep.commands.{module}" for name, module in MODULES.items()})
def main() -> None:
    """Fewstep: what `kedro run` does not do. Each command has a --help with examples."""
