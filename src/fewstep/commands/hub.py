"""`fewstep push`: a model, with a card, in a repository of the Hugging Face Hub."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV, MODEL
from fewstep.commands.project import champion_of_project
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.json_text import parse_json

if TYPE_CHECKING:
    from fewstep.evaluation.results import Evaluation
    from fewstep.models.model import Model, SavedModel

GRID = 64  # samples of the card's picture


@click.command()
@click.argument("repository", metavar="OWNER/NAME")
@MODEL
@ENV
@DATASET
@click.option(
    "--scores",
    default=None,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="scores.json of a model's folder, for its card. A registered version has its own.",
)
@click.option("--license", "licence", default=None, help="Of the model, as the Hub names it: apache-2.0, cc-by-4.0.")
@click.option("--private", is_flag=True, help="If the repository is new.")
@click.option(
    "--to", "folder", default=None, type=click.Path(path_type=Path), help="Write the files here, send nothing."
)
def push(
    repository: str,
    model: str | None,
    env: str | None,
    dataset: str | None,
    scores: Path | None,
    licence: str | None,
    private: bool,
    folder: Path | None,
) -> None:
    """Send a model to the Hugging Face Hub: its folder, a model card with its scores, and a picture of samples.

    fewstep.load("hf:owner/name") loads it, and "hf:owner/name@commit" that commit. The token is the one of HF_TOKEN or
    of hf auth login. OWNER/NAME@BRANCH writes to a branch.

    \b
        fewstep push me/digits-1-step
        fewstep push me/digits --model models:/fewstep-digits/2 --license cc-by-4.0
        fewstep push me/digits --model data/06_models/digits/cd --scores data/08_reporting/digits/cd/scores.json
    """
    from fewstep.exchange.hub_repository import Repository, page_of
    from fewstep.exchange.hub_repository import push as send

    target = Repository.read(repository)
    if folder and folder.exists():
        raise InvalidInput(f"{folder} already exists: name another place.")
    loaded, facts = _with_facts(model or champion_of_project(env, dataset), scores)
    with TemporaryDirectory() as temporary:
        written = _write(folder or Path(temporary) / "model", target.name, loaded, facts, licence)
        if folder:
            click.echo(f"written to {folder}, nothing is sent")
            return
        commit = send(written, target, f"{facts['name']}: {facts['recipe']}", private)
    click.echo(f'{page_of(target)} has it. In Python: fewstep.load("hf:{target.name}@{commit[:12]}")')


def _write(folder: Path, repository: str, model: "Model", facts: dict, licence: str | None) -> Path:
    """The files of the repository."""
    from fewstep.registry.hub_card import PICTURE, hub_card, represented_nfe

    folder.parent.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    if pictured := model.space.kind == "images":
        model.sample(GRID, represented_nfe(facts)).save_grid(folder / PICTURE)
    (folder / "README.md").write_text(hub_card(repository, facts, model, licence, pictured))
    return folder


def _represented_nfe(saved: "SavedModel", scores: "Evaluation") -> int:
    """The evaluations whose score represents a model: 1 of a student, of a teacher the most that are scored."""
    found = [row.nfe for row in scores.usual_rows_of(saved.spec.name)]
    return 1 if 1 in found or not found else max(found)


def _with_facts(place: str, scores: Path | None) -> "tuple[Model, dict]":
    """A model, and the facts of its card: those of a registered version, or of a folder with its scores."""
    from fewstep.evaluation.results import Evaluation
    from fewstep.models.model import SavedModel
    from fewstep.registry.record import facts_for
    from fewstep.registry.versions import facts_of, get_version, load_version
    from fewstep.tracking import Backend

    if found := re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", place):
        backend = Backend.at(Path.cwd())
        version = get_version(backend.existing(), found[1], found[2] or int(found[3]))
        return load_version(version, backend), facts_of(version)
    if scores is None:
        raise InvalidInput(
            f"the card of {place} needs scores: name its scores.json (--scores), or a registered version."
        )
    saved = SavedModel.open(place)
    try:
        measured = Evaluation.from_json(parse_json(scores.read_text()))
    except ValueError as problem:
        raise InvalidInput(f"--scores must be a scores.json, got {scores} ({reason_of(problem)}).") from None
    if measured.models.get(saved.spec.name) != saved.sha256:
        raise InvalidInput(f"{scores} has scores of another model than {place}: evaluate it again.")
    return saved.load(), facts_for(saved, measured, saved.spec.name, {}, _represented_nfe(saved, measured))


COMMANDS = (refusing(push),)
