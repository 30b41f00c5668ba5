"""Options that several commands have."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import click
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fewstep.pipelines.params_text import read_params
from fewstep.pipelines.yaml_files import load_file
from fewstep.support.errors import InvalidInput

ENV = click.option("--env", default=None, help="The configuration, as in kedro run --env.")
DATASET = click.option("--dataset", default=None, help="The data set, if it is not the configured one.")
MODEL = click.option(
    "--model",
    default=None,
    help="As models:/fewstep-digits@champion, or the folder of a finished model.  [default: the project's champion]",
)
PRECISION = click.option(
    "--precision",
    default=None,
    type=click.Choice(["fp32", "tf32", "bf16"]),
    help="Of the network's passes; tf32 and bf16 are faster on GPUs.  [default: fp32]",
)
COMPILE = click.option("--compile", "compiled", is_flag=True, help="Compile the network's passes by torch.compile.")
ALLOWED_HOSTS = click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A name of this server, beside those of loopback.  [default: none on loopback, any beyond it]",
)
PARAMS = click.Option(
    ["--params"],
    default="",
    help="Parameters as name=value, with commas between them: recipe=ect,network.channel_mult=[1,2]. Values are YAML.",
)
PARAMS_FILE = click.Option(
    ["--params-file"],
    type=click.Path(path_type=Path, dir_okay=False),
    help="A YAML file of parameters, with the same layout as the files in conf/. --params overrides it.",
)


def with_params(options: list[click.Parameter]) -> list[click.Parameter]:
    """A command's options with --params and --params-file, in place of Kedro's if it has that."""
    return [*(option for option in options if option.name != "params"), PARAMS, PARAMS_FILE]


def given_params(params: str | Mapping[str, Any], params_file: Path | None) -> dict[str, Any]:
    """What --params and --params-file say together. Raises ValueError for a file or a text that cannot be read."""
    typed = read_params(params) if isinstance(params, str) else dict(params)
    if params_file is None:
        return typed
    if not params_file.is_file():
        raise InvalidInput(f"--params-file must be a YAML file of parameters, and there is no {params_file}.")
    found = load_file(params_file)
    try:
        return together(found, typed)
    except OmegaConfBaseException as problem:
        said = str(problem).partition("\n")[0].rstrip(".")
        raise InvalidInput(
            f"--params does not fit over {params_file} ({said}): give a list or a section as a whole, as in "
            "--params=network.channel_mult=[1,2,3]."
        ) from problem


def together(*given: Any) -> dict[str, Any]:
    """Parameters over each other, the last ones on top; null stays, and takes away what the files of conf/ say."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(*given)))


class _Renamed(click.Option):
    """An option whose last spelling is a former name: it is taken too, and left out of the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help's line, without the old name."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {self.opts[-1]}", ""), record[1])


def nfe_option(words: str, **attrs: Any) -> Callable[[Any], Any]:
    """`--nfe`, network evaluations; formerly `--steps`. words: the help. attrs: of click's option."""
    return click.option("--nfe", "--steps", "nfe", cls=_Renamed, type=click.IntRange(1), help=words, **attrs)
