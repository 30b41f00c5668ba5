"""`fewstep import` and `fewstep export`: models from elsewhere, and for elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewstep import load
from fewstep.commands.error_messages import refusing
from fewstep.commands.options import DATASET, ENV, MODEL, nfe_option
from fewstep.commands.project import champion_of_project, check_folder, context_of, ingest_of
from fewstep.pipelines.places import place_of
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.json_text import parse_json

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.models.model import Model, SavedModel
    from fewstep.pipelines.config_loader import Context


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from", "origin", required=True, type=click.Choice(["openai", "nvidia", "diffusers"]), help="Who made the file."
)
@click.option("--as", "role", default="teacher", show_default=True, type=click.Choice(["teacher", "student"]))
@ENV
@DATASET
@click.option("--recipe", default=None, help="The student's name, with --as student.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="JSON: options of a network that OpenAI did not release."
)
@click.option("--replace", "overwrite", is_flag=True, help="Replace a model that is there.")
def import_model(
    file: Path,
    origin: str,
    role: str,
    env: str | None,
    dataset: str | None,
    recipe: str | None,
    config: Path | None,
    overwrite: bool,
) -> None:
    """Make a published checkpoint the teacher (or a student) of this project. Nothing in the file is run.

    \b
        fewstep import edm_imagenet64_ema.pt --from openai --env imagenet64
        fewstep import cd_imagenet64_l2.pt --from openai --env imagenet64 --as student --recipe cd
        fewstep import edm-cifar10-32x32-uncond-vp.pkl --from nvidia --env cifar10
        fewstep import diffusers-cd_imagenet64_l2 --from diffusers --env imagenet64 --as student --recipe cd
    """
    from fewstep.exchange import import_diffusers, import_nvidia, import_openai

    context = context_of(env, recipe, dataset=dataset)
    catalog, params = context.catalog, context.typed
    student = params.student
    target, name = place_of(catalog, role), "teacher" if role == "teacher" else student.name
    if target.exists() and not overwrite:
        raise InvalidInput(f"there is already a {role} in {target}: replace it with --replace.")
    if config and origin != "openai":
        raise InvalidInput(f"--config is for --from openai: files from {origin} hold their own options.")
    teaches, levels = role == "teacher", None if role == "teacher" else student.levels
    if origin == "diffusers":
        if teaches:
            raise InvalidInput("a ConsistencyModelPipeline is a student: import it with --as student.")
        model = import_diffusers(file, name, params.dataset, levels=levels)
    elif origin == "openai":
        model = import_openai(file, name, params.dataset, teacher=teaches, levels=levels, config=_options(config))
    else:
        model = import_nvidia(file, name, params.dataset, teacher=teaches, levels=levels)
    if catalog.exists("images"):
        model = _beside(model, catalog.load("images"), context)
    saved = _saved(model, target)
    click.echo(f"{role} in {target}: {saved.weights:,} weights, {saved.sha256[:12]}")
    if role == "teacher":
        click.echo(f"A student that starts from it has its network: that of conf/{env or 'base'}/parameters is to be")
        click.echo(_network(saved))


def _saved(model: "Model", target: Path) -> "SavedModel":
    target.parent.mkdir(parents=True, exist_ok=True)
    return model.save(target)


def _options(config: Path | None) -> dict | None:
    try:
        options = config and parse_json(config.read_text())
        if not isinstance(options, dict | None):
            raise InvalidInput(f"--config {config} must hold a JSON object: names with values.")
        return options
    except InvalidInput:
        raise
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"--config {config} cannot be read as JSON: {reason_of(problem)}.") from None


def _beside(model: "Model", images: "ArrayStore", context: "Context") -> "Model":
    """The model as one of these data: their hash, their names of classes. ValueError where they do not fit."""
    mine, theirs = model.space, images.space
    if mine.shape != theirs.shape:
        raise InvalidInput(f"the model must make samples of {list(theirs.shape)}, got {list(mine.shape)}.")
    if mine.classes and len(mine.classes) != len(theirs.classes):
        raise InvalidInput(f"the model must have {len(theirs.classes)} classes, got {len(mine.classes)}.")
    if mine.scale != theirs.scale:
        raise InvalidInput(
            f"the model was trained on data of scale {mine.scale:g}, and these have {theirs.scale:.6g}: run "
            + ingest_of(context, data={"scale": mine.scale})
        )
    space = replace(mine, classes=theirs.classes if mine.classes else ())
    return replace(model, space=space, spec=replace(model.spec, data_sha256=images.sha256))


def _network(model: "SavedModel") -> str:
    from omegaconf import OmegaConf

    from fewstep.networks import settings_of

    return OmegaConf.to_yaml({"network": settings_of(model.spec.network)})


@click.command(name="export")
@click.argument("target", type=click.Path(path_type=Path))
@MODEL
@ENV
@DATASET
@click.option(
    "--format",
    "kind",
    default=None,
    help="folder, pt2 (torch.export), onnx or diffusers.  [default: what TARGET ends with, .pt2 or .onnx, else folder]",
)
@nfe_option("Network evaluations of a program.", default=1, show_default=True)
@click.option("--opset", default=18, show_default=True, help="The version of ONNX's operators, with --format onnx.")
def export_model(
    target: Path, model: str | None, env: str | None, dataset: str | None, kind: str | None, nfe: int, opset: int
) -> None:
    """Write a model to TARGET for other programs: a folder, a program of torch.export, ONNX, or diffusers.

    \b
        fewstep export digits.pt2 --model models:/fewstep-digits@champion
        fewstep export digits.onnx --model data/06_models/digits/cd --opset 20
        fewstep export student --model data/06_models/digits/cd
    """
    from fewstep.exchange import check_format
    from fewstep.exchange import export_model as write

    if target.exists():
        raise InvalidInput(f"{target} already exists: name another place.")
    check_folder(target)
    kind = kind or {".pt2": "pt2", ".onnx": "onnx"}.get(target.suffix.lower(), "folder")
    check_format(kind, opset)
    click.echo(f"{kind} in {write(load(model or champion_of_project(env, dataset)), target, kind, nfe, opset)}")


COMMANDS = (refusing(import_model), refusing(export_model))
