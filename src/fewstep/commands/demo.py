"""`fewstep demo`: a page where a moved slider makes a new image (the extra "demo")."""

from importlib.util import find_spec
from typing import Any

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ALLOWED_HOSTS, DATASET, ENV, MODEL
from fewstep.commands.project import champion_of_project
from fewstep.support.errors import InvalidInput


@click.command()
@MODEL
@ENV
@DATASET
@click.option("--teacher", default=None, help="The teacher beside it; by default the one that its version names.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=7860, show_default=True, type=click.IntRange(1, 65535))
@ALLOWED_HOSTS
def demo(
    model: str | None,
    env: str | None,
    dataset: str | None,
    teacher: str | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
) -> None:
    """Open a page to play with a student: seeds, network evaluations, labels, inpainting, strokes, interpolation.

    The student is shown beside its teacher. A model that is named by an alias follows it: after a promotion the page
    shows the new champion.

    \b
        fewstep demo --model models:/fewstep-digits@champion
    """
    if not find_spec("gradio"):
        raise InvalidInput("the demo needs the package gradio: pip install 'fewstep[demo]'")
    from fewstep.commands.demo_studio import MOST_BYTES, Studio
    from fewstep.commands.page import build_page, theme
    from fewstep.serving.hosts import KnownHosts, check_port, known_hosts

    check_port(host, port)
    page = build_page(Studio(model or champion_of_project(env, dataset), teacher))
    looks: dict[str, Any] = {"footer_links": [], "theme": theme(), "ssr_mode": False}
    hosts = (KnownHosts, (), {"hosts": known_hosts(host, allowed_hosts)})  # as Starlette takes it apart
    serving: dict[str, Any] = {"share": False, "max_file_size": MOST_BYTES, "app_kwargs": {"middleware": [hosts]}}
    page.launch(server_name=host, server_port=port, **serving, **looks)


COMMANDS = (refusing(demo),)
