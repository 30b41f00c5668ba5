"""`fewstep verify`: everything that is kept is read again in full."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click

from fewstep.commands.error_messages import message_of, refusing
from fewstep.commands.options import DATASET, ENV
from fewstep.commands.project import contexts_of, others_with
from fewstep.pipelines.places import place_of
from fewstep.support.errors import InvalidInput

Check = tuple[str, Callable[[], object]]  # what it is of, and what raises if that is not as it was written


@click.command()
@ENV
@DATASET
@click.option("--recipe", default=None, help="One student; by default every student that is there, also of a trial.")
def verify(env: str | None, dataset: str | None, recipe: str | None) -> None:
    """Read data, features, models, scores and registered versions again, and report those that were changed.

    A run reads all of the data only if a file looks changed. This command always does, so it also finds silent damage
    by a disk.

    \b
        fewstep verify
        fewstep verify --env cifar10 --recipe cd
    """
    contexts = contexts_of(env, recipe, dataset)
    results = [(what, problem_of(check)) for what, check in checks_of([context.catalog for context in contexts])]
    for what, problem in results:
        click.echo(f"{what}: {problem or 'as it was written'}")
    if not results:
        others = others_with(contexts[0], "images")
        there = f" There are data of {', '.join(others)} (--dataset={others[0]})." if others else ""
        raise InvalidInput(f"there is nothing of {contexts[0].typed.dataset} to verify yet: kedro run makes it.{there}")
    if damaged := sum(problem is not None for _, problem in results):
        raise InvalidInput(f"{damaged} of {len(results)} are not as they were written.")


def problem_of(check: Callable[[], object]) -> str | None:
    """What is wrong, in words; None if nothing is."""
    try:
        check()
    except Exception as error:
        if (message := message_of(error)) is None:
            raise
        return message
    return None


def checks_of(catalogs: list[Any]) -> Iterator[Check]:
    """What there is of the data set, of each student, and in the registry."""
    from fewstep.data.latent_store import LatentStore
    from fewstep.data.store import ArrayStore

    shared = catalogs[0]
    if shared.exists("images"):
        place = place_of(shared, "images")
        yield str(place), lambda place=place: ArrayStore.open(place).verify(in_full=True)
    if (place := place_of(shared, "latents")).exists():  # whether these parameters ask for them or not
        yield str(place), lambda place=place: LatentStore.open(place).verify(in_full=True)
    if shared.exists("extractor"):
        yield str(place_of(shared, "extractor")), partial(shared.load, "extractor")
    models = [(shared, "teacher"), *((catalog, "student") for catalog in catalogs)]
    for catalog, name in models:
        if catalog.exists(name):
            yield str(place_of(catalog, name)), lambda catalog=catalog, name=name: catalog.load(name).load("cpu")
    for catalog in catalogs:
        for name in ("scores", "levels"):
            if catalog.exists(name):
                yield str(place_of(catalog, name)), partial(_check_agreement, name, catalog)
    yield from _versions(shared)


def _check_agreement(name: str, catalog: Any) -> None:
    """Raises where scores or levels are not those of the models that are there."""
    from fewstep.pipelines.agreement import check_together

    together = [each for each in ("teacher", "student", name) if catalog.exists(each)]
    check_together({each: catalog.load(each) for each in together}, catalog)


def _versions(catalog: Any) -> Iterator[Check]:
    from fewstep.registry.model_names import model_name, teacher_name
    from fewstep.registry.versions import load_version

    backend, dataset = catalog.load("tracking"), catalog.load("params:dataset")
    if backend.database and not backend.database.exists():
        return
    client = backend.client()
    for name in (model_name(dataset), teacher_name(dataset)):
        for version in sorted(client.search_model_versions(f"name='{name}'"), key=lambda each: int(each.version)):
            yield f"models:/{name}/{version.version}", partial(load_version, version, backend)


COMMANDS = (refusing(verify),)
