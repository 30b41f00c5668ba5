"""What happens around a run: missing inputs are named with the pipeline that makes them."""

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines


class Journal:
    """Checks inputs before a run."""

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        for name in sorted(pipeline.inputs()):
            makers = [p for p, made in pipelines.items() if p != "__default__" and name in made.all_outputs()]
            if makers and not catalog.exists(name):
                raise ValueError(
                    f"{run_params['pipeline_names'] or 'this run'} needs {name!r}, and it is not at "
                    f"{catalog.get(name)._describe().get('filepath')}. Make it first: kedro run --pipelines={makers[0]}"
                )
