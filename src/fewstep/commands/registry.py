"""`fewstep registry`: versions of models, and which of them is champion."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV
from fewstep.commands.project import context_of, contexts_of, judged_by, others_with, registered_project
from fewstep.pipelines.places import command_of, place_of
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol

SHOWN = {"sheet": "scores", "ladder": "scores", "report": "report"}  # and what names the weights that it is of
RECORDED = ("name", "version", "uri", "model_sha256", "lineage", "aliases", "reason", "provisional")  # what sync needs
REASON = click.option("--reason", default="", help="Kept in the history.")


@click.group()
def registry() -> None:
    """List registered models, promote one, roll back, show the history of champions.

    \b
        fewstep registry list
        fewstep registry history
        fewstep registry rollback --reason "blurred eights"
    """


@click.command()
@ENV
@DATASET
@click.option(
    "--recipe", default=None, help="One student; by default every student that has a record, also of a trial."
)
def sync(env: str | None, dataset: str | None, recipe: str | None) -> None:
    """Make registered versions again from what DVC brought.

    DVC does not restore the registry itself. The files of the pipelines `register` and `promote` (registration.json,
    promotions.json) and the folders of the models are enough to make each version again, under the same number if it
    is free, with its levels and the sheet, plot and report that are here. The newest version becomes challenger, and a
    former champion is champion again if there is none. Versions that are there stay as they are, except that missing
    or damaged files are made again. On a fresh clone:

    \b
        dvc pull dvc.yaml && fewstep registry sync
    """
    from fewstep.registry import champion_of
    from fewstep.registry import sync as make_again

    contexts = contexts_of(env, recipe, dataset, trials_with="registration")
    catalogs = [context.catalog for context in contexts]
    registered = [catalog for catalog in catalogs if catalog.exists("registration")]
    if not registered:
        place, others = place_of(catalogs[0], "registration"), others_with(contexts[0], "registration")
        there = f" There are records of {', '.join(others)} (--dataset={others[0]})." if others else ""
        raise InvalidInput(f"there is no {place}. Get it (dvc pull dvc.yaml), or run: {command_of(env=env)}.{there}")
    found = [each for catalog in registered for each in _models(catalog)]
    for record, folder, *_ in found:
        if not folder.exists():
            raise InvalidInput(f"the model of {record['uri']} is not at {folder}. Get it: dvc pull {folder}")
    moves = catalogs[0].load("promotions") if catalogs[0].exists("promotions") else None
    backend = catalogs[0].load("tracking")
    for made in make_again(found, backend, moves):
        click.echo(f"{made['name']} version {made['version']}: {', '.join(made['aliases']) or 'no alias'}")
    shown = [place_of(catalog, name) for catalog in registered for name in SHOWN]
    if lacking := set(shown).difference(*(places for _, _, *places in found)):
        click.echo(f"not here, or of other weights: {', '.join(sorted(map(str, lacking)))}")
    _, name = registered_project(env, dataset)
    if champion_of(backend, name) is None:
        was = f"version {moves['moves'][-1]['to']}, which was," if moves and moves["moves"] else "the one that was"
        click.echo(f"{name} has no champion: {was} is not among these records. fewstep registry promote")
        click.echo("Or, at a commit that has it (git log dvc.lock): dvc pull dvc.yaml && fewstep registry sync")


@click.command(name="list")
@ENV
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_versions(env: str | None, as_json: bool) -> None:
    """List every registered version of every data set, with its recipe, aliases and the score that the gate compares.

    \b
        fewstep registry list
    """
    from fewstep.registry import listed

    found = listed(context_of(env).catalog.load("tracking"))
    if as_json:
        click.echo(json.dumps([{**asdict(each), "made": each.made.isoformat()} for each in found], indent=2))
        return
    if not found:
        click.echo("no model is registered yet: kedro run makes one.")
    for each in found:
        score = f"{each.score} {each.value:.4g}" if each.value is not None else "no score"
        aliases = ", ".join(each.aliases) or "no alias"
        click.echo(f"{each.name}  {each.version}  {each.recipe}  {aliases}  {score}  {each.made:%Y-%m-%d %H:%M}")


@click.command()
@ENV
@DATASET
def history(env: str | None, dataset: str | None) -> None:
    """List every change of the champion: when, from which version to which, by whom, how and why.

    \b
        fewstep registry history
    """
    from fewstep.registry import history as moves_of

    context, name = registered_project(env, dataset)
    for entry in moves_of(context.catalog.load("tracking"), name):
        versions = f"{entry['from'] or '-'} -> {entry['to']}"
        click.echo(f"{entry['when']}  {versions}  {entry['kind']} by {entry['who']}: {entry['why']}")


@click.command()
@ENV
@DATASET
@REASON
def rollback(env: str | None, dataset: str | None, reason: str) -> None:
    """Make the previous champion champion again. A second rollback swaps them back.

    \b
        fewstep registry rollback --reason "blurred eights"
    """
    from fewstep.pipelines.notices import telling_of_champion
    from fewstep.registry import rollback as swap

    context, name = registered_project(env, dataset)
    catalog = context.catalog
    with telling_of_champion(catalog):
        made = swap(catalog.load("tracking"), name, reason)
    _keep_moves(catalog, name)
    click.echo(f"{name}: version {made['to']} is champion again, {made['from'] or 'none'} is previous")


@click.command()
@ENV
@DATASET
@click.option("--version", type=click.IntRange(1), help="The version to decide on; by default the challenger.")
@click.option(
    "--force", "forced", is_flag=True, help="Promote it whatever the gate would decide; needs --version and --reason."
)
@REASON
def promote(env: str | None, dataset: str | None, version: int | None, forced: bool, reason: str) -> None:
    """Let the gate decide on a version, as `kedro run --pipelines=promote` does, or promote it by force.

    \b
        fewstep registry promote
        fewstep registry promote --version 7 --force --reason "the gate's features are blind to colour"
    """
    from fewstep.pipelines.notices import telling_of_champion
    from fewstep.pipelines.promote.nodes import promote_version
    from fewstep.registry import force

    context, name = registered_project(env, dataset)
    params, catalog = context.typed, context.catalog
    if not forced:
        if reason:
            raise InvalidInput("--reason is for --force: the gate gives its own reason.")
        images, extractor = judged_by(context, "the gate needs")
        promotion = params.promotion.model_copy(update={"version": version})
        with telling_of_champion(catalog):
            made = promote_version(images, extractor, catalog.load("tracking"), promotion, params.evaluation)
        catalog.save("promotions", made)
        return
    if version is None:
        raise InvalidInput("--force needs the version to promote: --version 7")
    with telling_of_champion(catalog):
        force(catalog.load("tracking"), name, version, reason)
    _keep_moves(catalog, name)
    click.echo(f"{name}: version {version} is champion, forced")


for command in (list_versions, sync, history, rollback, promote):
    registry.add_command(refusing(command))
COMMANDS = (registry,)


def _models(catalog: "CatalogProtocol") -> list[tuple]:
    """Records and folders: the student's, with what shows it, and its teacher's where it has one."""
    record = _record(catalog)
    taught_by = [(record["teacher"], place_of(catalog, "teacher"))] if "teacher" in record else []
    return [*taught_by, (record, place_of(catalog, "student"), *_shown(catalog))]


def _record(catalog: "CatalogProtocol") -> dict[str, Any]:
    """What the pipeline `register` kept. Raises InvalidInput where the file is no record of a version."""
    record, file = catalog.load("registration"), place_of(catalog, "registration")
    for each in (record, record.get("teacher", record)) if isinstance(record, dict) else (record,):
        missing = [name for name in RECORDED if name not in each] if isinstance(each, dict) else ["everything"]
        if missing:
            raise InvalidInput(
                f"{file} is no record of a registered version ({', '.join(missing)} is missing): restore it (dvc "
                "checkout), or register again with kedro run --pipelines=register."
            )
    return record


def _shown(catalog: "CatalogProtocol") -> list[Path]:
    """What shows a registered student and is here, where what it was made with names the same weights."""
    sha256 = _record(catalog)["model_sha256"]
    return [
        place_of(catalog, name)
        for name, made_with in SHOWN.items()
        if catalog.exists(name) and catalog.exists(made_with) and sha256 in place_of(catalog, made_with).read_text()
    ]


def _keep_moves(catalog: "CatalogProtocol", name: str) -> None:
    from fewstep.registry import history as moves_of

    catalog.save("promotions", {"name": name, "moves": moves_of(catalog.load("tracking"), name)})
