"""What happens around a run: what is missing or does not fit is named before any work, results with their place."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from fewstep.autoencoders import Autoencoder
from fewstep.config.parameters import DataParameters, EvaluationParameters
from fewstep.data import expected_space
from fewstep.data.latent_space import seen_space
from fewstep.data.space import DataSpace
from fewstep.evaluation.features.choice import check_choice, check_extractor
from fewstep.losses.distances import check_distance
from fewstep.pipelines.agreement import check_together, disagreements, is_linked
from fewstep.pipelines.datasets import WorkplaceDataset
from fewstep.pipelines.journey import journey
from fewstep.pipelines.limits import (
    check_editing,
    check_labels,
    check_latents,
    check_references,
    check_replacing,
    check_scores,
)
from fewstep.pipelines.places import command_of, is_optional, place_of
from fewstep.support.errors import InvalidInput
from fewstep.tracking.mirrors import check_mirrors

SHOWN = ("sheet", "ladder", "gallery", "report", "leaderboard")
SHOWN += ("leaderboard_ladder", "leaderboard_cost", "leaderboard_sheet")
TRAINING = ("ingest", "encode", "teacher", "distill")
RECIPES = ("params:teacher", "params:student")
LATENTS = ("latents", "encoded")


class RunChecks:
    """Checks inputs before a run, and says after it where to look."""

    def __init__(self):
        self.params: dict[str, Any] = {}  # of the command line

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        catalog["workplace"] = WorkplaceDataset(catalog)
        for name in LATENTS:
            catalog[name].wanted = lambda: catalog.load("params:data").autoencoder is not None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self.catalog, self.pipeline, self.params = catalog, pipeline, run_params["runtime_params"] or {}
        asked = [catalog.load(name) for name in sorted(pipeline.inputs()) if _is_recipe(name)]
        self.recipes = [each for recipe in asked for each in recipe.chain]
        for recipe in self.recipes:
            check_distance(recipe.objective.distance)
        check_mirrors(catalog.load("params:tracking").mirrors)
        self._check_parameters()
        names = run_params["pipeline_names"] or ()
        self._check_missing(names[0] if len(names) == 1 else "this run")
        self._check_disk()
        if "images" in pipeline.inputs():
            self._check_data()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        if dataset_name == "images":
            self._check_disk("images")
            self._check_data()

    @hook_impl
    def before_node_run(self, catalog: CatalogProtocol, inputs: dict[str, Any]) -> dict[str, Any]:
        """What was made in this run meets what was there. A report of another model is left out, and said so."""
        found = {name: it for name, it in inputs.items() if is_linked(name) or _is_recipe(name)}
        left_out = {"report": None} if any(each.of == "report" for each in disagreements(found)) else {}
        for name in left_out:
            print(
                f"{place_of(catalog, name)} shows another model, and is left out: {self._command(catalog, name)}",
                flush=True,
            )
        check_together({**found, **left_out}, catalog, self.params)
        return left_out

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        made = pipeline.all_outputs()
        for name in SHOWN:
            if name in made:
                print(f"{name}: {place_of(catalog, name)}")
        if "registration" in made:
            uri = catalog.load("registration")["uri"]
            print(
                f"next: make ui (runs and pictures), {self._command(catalog, 'promote')} (three seeds, and the "
                f'gate), or in Python: fewstep.load("{uri}").sample(16, nfe=1, seed=0)'
            )

    def _check_parameters(self) -> None:
        """What parameters alone tell of later stages."""
        load = self.catalog.load
        data: DataParameters = load("params:data")
        space = expected_space(data.source, load("params:dataset"))
        seen = space and seen_space(space, data.autoencoder)
        if data.autoencoder:
            self._check_latents(data.autoencoder, seen)
        if "extractor" in self.pipeline.datasets():
            check_scoring(self.catalog, space, chosen="extractor" in self.pipeline.inputs())
        check_references(self.pipeline, load("params:evaluation"), space)
        check_editing(self.pipeline, load("params:editing"), load("params:student"), seen)
        if "images" in self.pipeline.all_outputs() and not load("params:fresh"):
            check_replacing(place_of(self.catalog, "images"), data.source)

    def _check_latents(self, autoencoder: str, seen: DataSpace | None) -> None:
        """What parameters and an autoencoder's folder tell. seen: of models, where the data's source says it."""
        Autoencoder.open(autoencoder).check_loadable()
        for recipe in self.recipes if seen else ():
            recipe.check_fits(seen, self.catalog.load("params:teacher"), self.catalog.load("params:launch").workers)

    def _check_missing(self, asked_for: str) -> None:
        for name in sorted(self.pipeline.inputs()):
            if self._is_missing(name) and (maker := maker_of(name)):
                raise InvalidInput(
                    f"{asked_for} needs {name!r}, and it is not at {place_of(self.catalog, name)}. Make it first: "
                    f"{self._command(self.catalog, maker)}"
                )

    def _is_missing(self, name: str) -> bool:
        """Whether a run cannot do without a dataset that is not there."""
        if self.catalog.exists(name):
            return False
        needed = not is_optional(self.catalog, name)
        return needed or (name == "teacher" and any(recipe.needs_teacher for recipe in self.recipes))

    def _check_disk(self, *made: str) -> None:
        """What the run reads from disk, and what it made by now, belongs together."""
        names = {name for name in self.pipeline.inputs() if is_linked(name)} - {"report"} | set(made)
        found = {name: self.catalog.load(name) for name in sorted(names)}
        found |= {name: self.catalog.load(name) for name in self.pipeline.inputs() if _is_recipe(name)}
        check_together(found, self.catalog, self.params)

    def _check_data(self) -> None:
        """Only the data can tell some sizes, how many there are, and whether there are labels."""
        load = self.catalog.load
        images, workers, teacher = load("images"), load("params:launch").workers, load("params:teacher")
        data: DataParameters = load("params:data")
        space = seen_space(images.space, data.autoencoder)
        if "latents" in self.pipeline.inputs():
            check_latents(load("latents"), data.autoencoder, self._command(self.catalog, "encode"))
        for recipe in self.recipes:
            recipe.check_fits(space, teacher, workers)
        check_labels(self.recipes, images)
        without = self._command(
            self.catalog, ",".join(s for s in journey(load("params:student"), data.autoencoder) if s in TRAINING)
        )
        check_scores(self.pipeline, images, load("params:evaluation"), without)
        check_references(self.pipeline, load("params:evaluation"), images.space)
        check_editing(self.pipeline, load("params:editing"), load("params:student"), space)

    def _command(self, catalog: Any, pipeline: str) -> str:
        """The command that runs a pipeline as this run was asked for."""
        return command_of(pipeline, catalog.load("params:env"), self.params)


def _is_recipe(name: str) -> bool:
    return name.startswith(RECIPES)


def check_scoring(catalog: Any, space: Any, chosen: bool) -> None:
    """Raise ValueError if what scores are measured by is not there or does not fit. chosen: by an ingestion before."""
    evaluation: EvaluationParameters = catalog.load("params:evaluation")
    given = evaluation.features, evaluation.features_weights
    if chosen and catalog.exists("extractor"):
        check_choice(place_of(catalog, "extractor"), *given)
    check_extractor(*given, space)


def maker_of(name: str) -> str | None:
    """The pipeline that makes a dataset."""
    return next((p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs()), None)
