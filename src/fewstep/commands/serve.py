"""`fewstep serve`: a model behind HTTP."""

import re
from pathlib import Path

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ALLOWED_HOSTS, COMPILE, DATASET, ENV, MODEL, PRECISION
from fewstep.commands.project import champion_of_project
from fewstep.serving.most import MOST_BYTES
from fewstep.support.errors import InvalidInput

MIB = 2**20


@click.command()
@MODEL
@ENV
@DATASET
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
@PRECISION
@COMPILE
@ALLOWED_HOSTS
@click.option(
    "--max-body",
    default=MOST_BYTES // MIB,
    show_default=True,
    type=click.IntRange(1),
    help="The largest body of a request, in MiB.",
)
@click.option("--cors", "origins", multiple=True, help="A page whose scripts may call it (https://page.example), or *.")
def serve(
    model: str | None,
    env: str | None,
    dataset: str | None,
    host: str,
    port: int,
    precision: str | None,
    compiled: bool,
    allowed_hosts: tuple[str, ...],
    max_body: int,
    origins: tuple[str, ...],
) -> None:
    """Serve a model's samples and edits: the requests of `mlflow models serve`, for production.

    A page at /docs has the fields of a request, and /metrics is for Prometheus. Bodies are limited before they are
    parsed, and callers take turns on the device. With FEWSTEP_FOLLOW=champion it serves a new champion without a
    restart.

    \b
        fewstep serve --model models:/fewstep-digits@champion --port 5001
    """
    import uvicorn

    from fewstep.networks.execution import Execution
    from fewstep.serving.application import SERVER, Application
    from fewstep.serving.generator import Generator
    from fewstep.serving.hosts import KnownHosts, check_port, known_hosts
    from fewstep.support.memory import share_freed_memory

    for origin in origins:
        if not re.fullmatch(r"\*|https?://[a-z0-9.-]+(:\d+)?", origin):
            raise InvalidInput.of("--cors", origin, "https://host or http://host:port, in lower case, or *")
    check_port(host, port)
    share_freed_memory()
    model = model or champion_of_project(env, dataset)
    loaded, name, number = _loaded(model)
    execution = Execution.on(loaded.device, precision or "fp32", compiled)
    generator = Generator().serve(loaded.run_by(execution), name, number)
    application = Application(generator.answer, max_body * MIB, origins=origins)
    click.echo(f"{model} is served at http://{host}:{port}/invocations")
    uvicorn.run(KnownHosts(application, known_hosts(host, allowed_hosts)), host=host, port=port, **SERVER)


def _loaded(place: str):
    """A model, and its name and number in the registry, if it is registered."""
    from fewstep import load
    from fewstep.registry.versions import get_version, load_version
    from fewstep.tracking import Backend

    found = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", place)
    if not found:
        return load(place), None, None
    backend = Backend.at(Path.cwd())
    version = get_version(backend.existing(), found[1], found[2] or int(found[3]))
    return load_version(version, backend), version.name, int(version.version)


COMMANDS = (refusing(serve),)
