"""What happens around a run: what is missing or does not fit is named before any work, results with their place."""

from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from fewstep.commands.project import command_of
from fewstep.config.parameters import DataParameters, EvaluationParameters
from fewstep.data import expected_space
from fewstep.evaluation.features.choice import check_choice, check_extractor
from fewstep.losses.distances import check_distance
from fewstep.pipelines.datasets import WorkplaceDataset
from fewstep.support.errors import InvalidInput
from fewstep.training.recipe import Recipe

SHOWN = ("sheet", "ladder", "gallery", "report", "leaderboard")
SHOWN += ("leaderboard_ladder", "leaderboard_cost", "leaderboard_sheet")
RECIPES = ("params:teacher", "params:student")


class RunChecks:
    """Checks inputs before a run, and says after it where to look."""

    @hook_impl
    def after_catalog_created(self, catalog):
        catalog["workplace"] = WorkplaceDataset(catalog)

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        self.catalog, env = catalog, run_params["env"]
        self.recipes = [catalog.load(name) for name in sorted(pipeline.inputs()) if name.startswith(RECIPES)]
        for recipe in self.recipes:
            check_distance(recipe.objective.distance)
        if "extractor" in pipeline.datasets():
            check_scoring(catalog, chosen="extractor" in pipeline.inputs())
        asked_for = ", ".join(run_params["pipeline_names"] or ["this run"])
        for name in sorted(pipeline.inputs()):
            if self._is_missing(name) and (maker := maker_of(name, catalog)):
                raise InvalidInput(
                    f"{asked_for} needs {name!r}, and it is not at {place(catalog, name)}. Make it first: "
                    f"{command_of(maker, env)}"
                )
        if "images" in pipeline.inputs():
            self._check_recipes()

    def _is_missing(self, name: str) -> bool:
        """Whether a run cannot do without a dataset that is not there."""
        if self.catalog.exists(name):
            return False
        needed = not getattr(self.catalog.get(name), "optional", False)
        return needed or (name == "teacher" and any(recipe.needs_teacher for recipe in self.recipes))

    @hook_impl
    def after_dataset_saved(self, dataset_name):
        if dataset_name == "images":
            self._check_recipes()

    def _check_recipes(self):
        """Only the data can tell some sizes, and whether there are labels."""
        space, workers = self.catalog.load("images").space, self.catalog.load("params:launch").workers
        teacher: Recipe = self.catalog.load("params:teacher")
        for recipe in self.recipes:
            recipe.check_fits(space, teacher, workers)

    @hook_impl
    def after_pipeline_run(self, run_params, pipeline, catalog):
        made = pipeline.all_outputs()
        for name in SHOWN:
            if name in made:
                print(f"{name}: {place(catalog, name)}")
        if "registration" in made:
            uri = catalog.load("registration")["uri"]
            print(
                f"next: make ui (runs and pictures), {command_of('promote', run_params['env'])} (three seeds, and the "
                f'gate), or in Python: fewstep.load("{uri}").sample(nfe=1, seed=0, '
                "indices=range(16))"
            )


def check_scoring(catalog, chosen: bool) -> None:
    """Raise ValueError if what scores are measured by is not there or does not fit. chosen: by an ingestion before."""
    evaluation: EvaluationParameters = catalog.load("params:evaluation")
    data: DataParameters = catalog.load("params:data")
    given = evaluation.features, evaluation.features_weights
    if chosen and catalog.exists("extractor"):
        check_choice(Path(place(catalog, "extractor")), *given)
    check_extractor(*given, expected_space(data.source, catalog.load("params:dataset")))


def maker_of(name: str, catalog) -> str | None:
    """The pipeline that makes a dataset, with the recipe where each has its own."""
    student: Recipe = catalog.load("params:student")
    maker = next((p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs()), None)
    has_own = maker and student.name in Path(place(catalog, name)).parts
    return f"{maker} --params=recipe={student.name}" if has_own else maker


def place(catalog, name: str) -> str:
    """Where the catalog keeps a dataset."""
    return str(catalog.get(name)._describe().get("filepath"))  # there is no public way to ask
