"""What happens around a run: missing inputs are named with the pipeline that makes them."""

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines


class Journal:
    """Checks inputs before a run."""

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        for name in sorted(pipeline.inputs()):
            if not name.startswith("params:") and name != "parameters" and not catalog.exists(name):
                raise ValueError(missing_input(name, catalog))


def missing_input(name: str, catalog) -> str:
    """Which pipeline makes a data set that is not there, and what to type."""
    makers = [p for p, pipeline in pipelines.items() if p != "__default__" and name in pipeline.all_outputs()]
    place = catalog.get(name)._describe().get("filepath")
    env = "" if not makers else f"kedro run --pipelines={makers[0]}"
    return f"{name!r} is needed and is not at {place}. Make it with: {env} (with the same --env and --params)."
