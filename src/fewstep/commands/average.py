"""`fewstep average`: a finished training's weights, averaged over another length."""

from pathlib import Path

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.project import check_folder
from fewstep.support.checks import check_value
from fewstep.support.errors import InvalidInput


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--std",
    "stds",
    type=float,
    multiple=True,
    required=True,
    help="The length of the average: its standard deviation over that of the training. May be given again.",
)
@click.option(
    "--output", default=None, type=click.Path(path_type=Path), help="The model's folder.  [default: RUN/averages/STD]"
)
def average(run: Path, stds: tuple[float, ...], output: Path | None) -> None:
    """Make the average of any length (EDM2, post-hoc EMA) from the snapshots that a training kept in its folder RUN.

    A training keeps them with training.averages.

    \b
        kedro run --pipelines=teacher --params=teacher.training.averages=[0.05,0.1]
        fewstep average runs/digits/teacher-0123456789ab --std 0.08
        fewstep evaluate runs/digits/teacher-0123456789ab/averages/0.08 --nfe 9
    """
    from fewstep.training.power_average import STD
    from fewstep.training.snapshots import rebuilt_average

    for std in stds:
        check_value("--std", std, STD)
    if output and len(stds) > 1:
        raise InvalidInput("--output is for one --std: leave it out, or give one.")
    if not run.is_dir():
        raise InvalidInput(f"there is no training in {run}: name its folder below runs/.")
    if output:
        check_folder(output)
        if output.exists():
            raise InvalidInput(f"{output} already exists: name another place.")
    for std in stds:
        model, facts = rebuilt_average(run, std)
        target = output or run / "averages" / f"{std:g}"
        target.parent.mkdir(parents=True, exist_ok=True)
        saved = model.save(target)
        click.echo(
            f"{target}: {saved.weights:,} weights, {saved.sha256[:12]}, from {facts['snapshots']} snapshots "
            f"(within {facts['error']:.2%} of the average of std {std:g})"
        )


COMMANDS = (refusing(average),)
