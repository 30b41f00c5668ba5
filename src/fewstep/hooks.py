"""What happens around a run: what is missing or does not fit is named before any work, results with their place."""

from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from fewstep.commands.project import command_of
from fewstep.config.recipe import Recipe
from fewstep.data import expected_space
from fewstep.evaluation.extractor_choice import check_choice, check_extractor
from fewstep.losses.distances import check_distance

PICTURES = ("sheet", "ladder", "gallery", "report", "leaderboard")
PICTURES = (*PICTURES, "leaderboard_ladder", "leaderboard_cost", "leaderboard_sheet")
JOURNEY = "ingest,teacher,{maker},evaluate,register --params=recipe={recipe}"
RECIPES = ("params:teacher", "params:student")
TRAINERS = {"train_student": "distill", "train_student_alone": "train"}  # {node: its pipeline}


class Journal:
    """Checks inputs before a run, and says after it where to look."""

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        self.catalog, nodes, env = catalog, {node.name for node in pipeline.nodes}, run_params["env"]
        given = sorted(name for name in pipeline.inputs() if name.startswith(RECIPES))
        self.recipes = [Recipe.model_validate(catalog.load(name)) for name in given]
        for recipe in self.recipes:
            check_distance(recipe.objective.get("distance", "l2"))
            check_maker(recipe, nodes, env)
        if "extractor" in pipeline.datasets():
            check_scoring(catalog, chosen="extractor" in pipeline.inputs())
        for name in sorted(pipeline.inputs()):
            if (maker := maker_of(name, catalog)) and not catalog.exists(name):
                raise ValueError(
                    f"{', '.join(run_params['pipeline_names'] or ['this run'])} needs {name!r}, and it is not at "
                    f"{place(catalog, name)}. Make it first: {command_of(maker, env)}"
                )
        if "images" in pipeline.inputs():
            self._check_recipes()

    @hook_impl
    def after_dataset_saved(self, dataset_name):
        if dataset_name == "images":
            self._check_recipes()

    def _check_recipes(self):
        """Only the data can tell some sizes, and whether there are labels."""
        space, workers = self.catalog.load("images").space, self.catalog.load("params:launch")["workers"]
        teacher = Recipe.model_validate(self.catalog.load("params:teacher"))
        for recipe in self.recipes:
            recipe.check_fits(space, teacher, workers)

    @hook_impl
    def after_pipeline_run(self, run_params, pipeline, catalog):
        made = pipeline.all_outputs()
        for name in PICTURES:
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
    evaluation, data = catalog.load("params:evaluation"), catalog.load("params:data")
    given = evaluation["features"], evaluation["features_weights"]
    if chosen and catalog.exists("extractor"):
        check_choice(Path(place(catalog, "extractor")), *given)
    check_extractor(*given, expected_space(data["source"], catalog.load("params:dataset")))


def maker_of(name: str, catalog) -> str | None:
    """The pipeline that makes a data set, with the recipe where each has its own."""
    student = Recipe.model_validate(catalog.load("params:student"))
    makers = (p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs())
    maker = student.trainer[0] if name == "student" else next(makers, None)
    has_own = maker and student.name in Path(place(catalog, name)).parts
    return f"{maker} --params=recipe={student.name}" if has_own else maker


def check_maker(student: Recipe, nodes: set[str], env: str | None) -> None:
    """Raise ValueError if a recipe with a teacher is to be trained without, or the other way round."""
    trainer, reason = student.trainer
    for node, pipeline in TRAINERS.items():
        if node in nodes and pipeline != trainer and student.name != "teacher":
            journey = command_of(JOURNEY.format(maker=trainer, recipe=student.name), env)
            raise ValueError(
                f"recipe {student.name} {reason}, so the pipeline {trainer} makes it, not {pipeline}: {journey}"
            )


def place(catalog, name: str) -> str:
    """Where the catalog keeps a data set."""
    return str(catalog.get(name)._describe().get("filepath"))
