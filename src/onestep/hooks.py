"""What happens around a run: missing inputs are named with the pipeline that makes them, results with their place."""

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from onestep.diffusion.distances import check_distance

PICTURES = ("sheet", "ladder")


class Journal:
    """Checks inputs before a run, and says after it where to look."""

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        if "student" in pipeline.all_outputs():
            check_distance(catalog.load("params:student")["objective"].get("distance", "l2"))
        for name in sorted(pipeline.inputs()):
            makers = [p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs()]
            if makers and not catalog.exists(name):
                raise ValueError(
                    f"{', '.join(run_params['pipeline_names'] or ['this run'])} needs {name!r}, and it is not at "
                    f"{place(catalog, name)}. Make it first: kedro run --pipelines={makers[0]}"
                )

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
