"""`fewstep statistics`: the features of a data set, as statistics that other programs read."""

from pathlib import Path

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV
from fewstep.commands.project import check_folder, context_of, judged_by
from fewstep.support.errors import InvalidInput


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@ENV
@DATASET
@click.option(
    "--split", default="train", show_default=True, type=click.Choice(["train", "heldout"]), help="Which images."
)
def statistics(output: Path, env: str | None, dataset: str | None, split: str) -> None:
    """Write mean and covariance of the features of a data set's images to an .npz, in the layout of EDM's fid.py.

    It can be given as evaluation.reference, and then is refused for other data, sizes or features.

    \b
        fewstep statistics digits.npz
        fewstep statistics cifar10.npz --env cifar10
    """
    from fewstep.evaluation.reference_files import write_statistics

    if output.suffix != ".npz":
        raise InvalidInput(f"statistics must go to an .npz file, got {output}.")
    check_folder(output)
    images, extractor = judged_by(context_of(env, dataset=dataset), "statistics need")
    if extractor is None:
        raise InvalidInput(f"only images have features, and {images.space.name} has {images.space.kind}.")
    chosen = images.images(split)
    if len(chosen) < 2:
        raise InvalidInput(f"statistics need at least 2 images, and {images.space.name} has {len(chosen)} {split}.")
    about = {"dataset": images.space.name, "data_sha256": images.sha256, "shape": list(images.space.shape)}
    about |= {"extractor": extractor.name, "extractor_sha256": extractor.sha256}
    write_statistics(output, extractor(chosen), {**about, "split": split, "count": len(chosen)})
    click.echo(f"statistics of {len(chosen):,} images by the features {extractor.name} in {output}")


COMMANDS = (refusing(statistics),)
