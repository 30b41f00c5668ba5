"""Commands: what `kedro` has in this project, and `onestep`."""

import click
from kedro.framework.cli.project import run as kedro_run

from onestep.commands.exchange import COMMANDS as EXCHANGE
from onestep.commands.refusals import refusing
from onestep.commands.registry import registry


@click.group(name="onestep")
def cli() -> None:
    """Commands of this project."""


run = refusing(kedro_run)
cli.add_command(run)


@click.group()
def main() -> None:
    """Onestep: what `kedro run` does not do."""


main.add_command(registry)


@click.command()
@click.argument("sheet", type=click.Path(dir_okay=False, writable=True))
@click.option("--model", required=True, help="As models:/onestep-digits@champion.")
@click.option("--count", default=64, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=1, show_default=True, type=click.IntRange(1), help="Network evaluations an image.")
@click.option("--seed", default=0, show_default=True)
@click.option("--label", default=None, type=int, help="A class by its number, of a model that was trained with labels.")
def sample(sheet: str, model: str, count: int, steps: int, seed: int, label: int | None) -> None:
    """Draw samples of a registered model into the picture SHEET."""
    import torch
    from PIL import Image

    import onestep
    from onestep.evaluation.figures import tile
    from onestep.evaluation.plots import scatter

    generator = onestep.load(model)
    labels = None if label is None else torch.full((count,), label)
    samples = generator.sample(steps, seed, range(count), labels)
    picture = Image.fromarray(tile(samples)) if samples.ndim == 4 else scatter([(model, samples)])
    picture.save(sheet)
    click.echo(f"{count} samples in {sheet}")


main.add_command(refusing(sample))
for command in EXCHANGE:
    main.add_command(command)
