"""dvc.yaml and comparison/dvc.yaml, derived from the pipelines, the catalog, the parameters and the numerics versions.

`make dvc` (`python -m fewstep.pipelines.dvc_stages`) writes both; a test compares the committed files with what is
derived here. A stage depends on its data, its parameters and the numerics versions of the code that it runs
(fewstep.training.numerics), and on no source file.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf

from fewstep import budget, data, evaluation
from fewstep.data import latent_space
from fewstep.diffusion import randomness
from fewstep.evaluation.kept_scores import SAMPLING, SCORING
from fewstep.objectives import Objective
from fewstep.pipelines.compare import create_pipeline as create_comparison
from fewstep.pipelines.datasets import PictureDataset
from fewstep.pipelines.journey import IN_LATENTS, STAGES
from fewstep.pipelines.places import filepath_of
from fewstep.training.numerics import PARTS
from fewstep.training.recipe import Recipe

CONF = "conf/base"
METRICS = {"metrics", "leaderboard"}  # shown by `dvc metrics show`
# What the parameters of a training are made of. Other parameters are sections of a file, or keys in one.
TRAINED = {"teacher": ("network", "teacher"), "student": ("network", "recipes.{recipe}")}

TRAINING = tuple(PARTS.values())

RECIPE = "RECIPE"  # stands for every recipe in the pipeline from which the stage of a contest is derived
HEADS = {
    "dvc.yaml": "# The journey of `kedro run`, a stage for each pipeline. Written by `make dvc`: do not edit.\n",
    "comparison/dvc.yaml": "# The comparison (kedro run --pipelines=compare), a stage for each recipe: "
    "dvc repro comparison/dvc.yaml\n# Written by `make dvc`: do not edit.\n",
}

Read = dict[str, list[str]]  # what a stage reads of files that DVC parses: {file: keys}


def dvc_files(project: Path) -> dict[str, str]:
    """{path in the project: text} of both files, as they should be."""
    bootstrap_project(project)
    session = KedroSession.create(project, env="base")
    with session:
        context = session.load_context()
    sources = Sources(project, dict(pipelines), context.catalog, context.params)
    stages = {"dvc.yaml": sources.journey(), "comparison/dvc.yaml": sources.comparison()}
    return {
        name: head + OmegaConf.to_yaml({"stages": stages[name]}).replace(RECIPE, "${key}")
        for name, head in HEADS.items()
    }


@dataclass(frozen=True)
class Sources:
    """What stages are derived from: the project's folder, and its pipelines, catalog and parameters with --env=base."""

    project: Path
    pipelines: Mapping[str, Pipeline]
    catalog: CatalogProtocol
    parameters: Mapping

    @property
    def stages(self) -> tuple[str, ...]:
        """The pipelines that are stages of the journey."""
        return IN_LATENTS if self.parameters["data"].autoencoder else STAGES

    def journey(self) -> dict[str, dict]:
        """{name: a stage} for each pipeline of `kedro run`."""
        numerics = {
            "ingest": versions(data, randomness, evaluation),
            "encode": versions(data, latent_space),
            "teacher": versions(*TRAINING, objective=self.parameters["teacher"].objective),
            "distill": versions(*TRAINING) | of_methods(self.parameters["student"]),
            "evaluate": versions(*SCORING),
            "register": {},
        }
        made = {name: self._stage(self.pipelines[name], f"--pipelines={name}", numerics[name]) for name in self.stages}
        if autoencoder := self.parameters["data"].autoencoder:
            made["encode"]["deps"] += [autoencoder]  # a folder of the user's
        return made

    def comparison(self) -> dict[str, dict]:
        """{name: a stage}: one for each recipe, one for the teacher's scores, one for the leaderboard.

        Recipes of one training are alike but for their names. Those that have an earlier one read its parameters too.
        """
        of_any, whole = versions(*TRAINING, *SCORING, budget), self.pipelines["compare"]
        staged = {name: recipe for name, recipe in sorted(self.parameters["students"].items()) if recipe.earlier}
        return {
            "contest": {
                "foreach": self._methods(),
                "do": self._contest(RECIPE, of_any | {"${item.file}": ["${item.version}"]}),
            },
            **{f"contest_{name}": self._contest(name, of_any | of_methods(it)) for name, it in staged.items()},
            "reference": self._part(whole, ["score_reference"], versions(*SCORING)),
            "leaderboard": self._part(whole, ["rank"], versions(*SAMPLING)),
        }

    def _methods(self) -> dict[str, dict[str, str]]:
        """{recipe: where the numerics version of its objective is}, of recipes without an earlier one."""
        found = {}
        for name, recipe in sorted(self.parameters["students"].items()):
            if recipe.earlier is None:
                ((file, (version,)),) = versions(objective=recipe.objective).items()
                found[name] = {"file": file, "version": version}
        return found

    def _contest(self, recipe: str, numerics: Read) -> dict:
        return self._part(create_comparison([recipe]), [f"train_{recipe}", f"score_{recipe}"], numerics)

    def _part(self, pipeline: Pipeline, nodes: list[str], numerics: Read) -> dict:
        words = f"--pipelines=compare --nodes={','.join(nodes)}"
        return {"wdir": "..", **self._stage(pipeline.only_nodes(*nodes), words, numerics)}

    def _stage(self, part: Pipeline, words: str, numerics: Read) -> dict:
        """The stage that runs a part of a pipeline."""
        outputs = part.all_outputs()
        plots = {name for name in outputs if isinstance(self.catalog.get(name), PictureDataset)}
        read = self._parameters(part) | numerics
        entries = {
            "params": [{file: keys} for file, keys in sorted(read.items())],
            "deps": self._places(part.inputs() & self._made()),
            "outs": self._places(outputs - plots - METRICS),
            "metrics": self._places(outputs & METRICS),
            "plots": self._places(plots),
        }
        return {"cmd": f"kedro run --env=base {words}"} | {name: found for name, found in entries.items() if found}

    def _made(self) -> set[str]:
        """Datasets that stages make. Others are how and where work is done, or optional and not of the journey."""
        stages = [*(self.pipelines[name] for name in self.stages), self.pipelines["compare"]]
        return set().union(*(stage.all_outputs() for stage in stages))

    def _places(self, datasets: Iterable[str]) -> list[str]:
        """Paths of datasets, in the project, of those that are kept below data/."""
        paths = (filepath_of(self.catalog, name).relative_to(self.project) for name in datasets)
        return sorted(path.as_posix() for path in paths if path.is_relative_to("data"))

    def _parameters(self, part: Pipeline) -> Read:
        """Where the parameters of a part's nodes come from."""
        found: dict[str, set[str]] = {}
        for name in (each.removeprefix("params:") for each in part.inputs() if each.startswith("params:")):
            kind, _, recipe = name.replace("students.", "student.").partition(".")
            recipe = recipe or self.parameters["recipe"]
            keys = [key.format(recipe=recipe) for key in TRAINED.get(kind, (name,))]
            for key in [*keys, *(self._earlier_keys(recipe) if kind == "student" else ())]:
                for file, place in self._given(key):
                    found.setdefault(file, set()).add(place)
        return {file: sorted(keys) for file, keys in found.items()}

    def _earlier_keys(self, recipe: str) -> list[str]:
        """The parameters of what is trained before a recipe; none for the one that stands for every recipe."""
        chain = self.parameters["students"][recipe].chain[:-1] if recipe != RECIPE else []
        return [each.name if each.name == "teacher" else f"recipes.{each.name}" for each in chain]

    def _given(self, key: str) -> list[tuple[str, str]]:
        """(file, key) where a parameter is given, or [] for one that has its default."""
        if key.startswith("recipes."):
            return [(f"{CONF}/parameters/{key.replace('.', '/')}.yml", key)]  # a recipe's file has its name
        for file in sorted((self.project / CONF / "parameters").glob("*.yml")):
            value = OmegaConf.to_container(OmegaConf.load(file))
            for word in key.split("."):
                value = value.get(word) if isinstance(value, dict) else None
            if value is None:
                continue
            shared = re.search(r"\$\{globals:(\w+)", str(value))
            place = file.relative_to(self.project).as_posix()
            return [(f"{CONF}/globals.yml", shared[1])] if shared else [(place, key)]
        return []


def versions(*parts: ModuleType, objective: Objective | None = None) -> Read:
    """Where the numerics versions of parts of the package and of an objective are, as DVC finds them."""
    found = {_file_of(part.__name__, hasattr(part, "__path__")): ["NUMERICS"] for part in parts}
    if objective is not None:
        found[_file_of(type(objective).__module__)] = [f"{type(objective).__name__}.numerics"]
    return found


def of_methods(recipe: Recipe) -> Read:
    """The numerics versions of the methods of a recipe and of its earlier ones."""
    found: Read = {}
    for each in recipe.chain:
        found |= versions(objective=each.objective)
    return found


def _file_of(module: str, package: bool = False) -> str:
    return f"src/{module.replace('.', '/')}{'/__init__' if package else ''}.py"


if __name__ == "__main__":
    here = Path.cwd()
    for name, text in dvc_files(here).items():
        (here / name).write_text(text)
