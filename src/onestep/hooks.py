"""What happens around a run: what is missing or does not fit is named before any work, results with their place."""

from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from onestep.diffusion.distances import check_distance
from onestep.evaluation.choice import check_choice
from onestep.pipelines.parameters import Recipe

PICTURES = ("sheet", "ladder")
TRAINED = ("teacher", "student")


class Journal:
    """Checks inputs before a run, and says after it where to look."""

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        self.catalog = catalog
        self.trained = [name for name in TRAINED if name in pipeline.all_outputs()]
        if "student" in self.trained:
            check_distance(catalog.load("params:student")["objective"].get("distance", "l2"))
        if "extractor" in pipeline.inputs() and catalog.exists("extractor"):
            evaluation = catalog.load("params:evaluation")
            check_choice(Path(place(catalog, "extractor")), evaluation["features"], evaluation["features_weights"])
        for name in sorted(pipeline.inputs()):
            makers = [p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs()]
            if makers and not catalog.exists(name):
                raise ValueError(
                    f"{', '.join(run_params['pipeline_names'] or ['this run'])} needs {name!r}, and it is not at "
                    f"{place(catalog, name)}. Make it first: kedro run --pipelines={makers[0]}"
                )
        if "images" in pipeline.inputs():
            self._check_recipes()

    @hook_impl
    def after_dataset_saved(self, dataset_name):
        if dataset_name == "images":
            self._check_recipes()

    def _check_recipes(self):
        """Only the data can tell some sizes, and whether there are labels."""
        for name in self.trained:
            recipe = Recipe.model_validate(self.catalog.load(f"params:{name}"))
            recipe.check_fits(self.catalog.load("images").space)

    @hook_impl
    def after_pipeline_run(self, pipeline, catalog):
        made = pipeline.all_outputs()
        for name in PICTURES:
            if name in made:
                print(f"{name}: {place(catalog, name)}")
        if "registration" in made:
            uri = catalog.load("registration")["uri"]
            print(
                "next: make ui (runs and pictures in MLflow), kedro run --params=evaluation.full=true --pipelines="
                f'evaluate,register (three seeds), or in Python: onestep.load("{uri}").sample(nfe=1, seed=0, '
                "indices=range(16))"
            )


def place(catalog, name: str) -> str:
    """Where the catalog keeps a data set."""
    return str(catalog.get(name)._describe().get("filepath"))
