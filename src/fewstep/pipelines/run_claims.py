"""Two runs at once: what one makes, no other makes or uses meanwhile."""

import os
from contextlib import ExitStack
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from fewstep.pipelines.datasets import TrackingDataset
from fewstep.support.claims import claimed


class Claims:
    """A run claims what it makes, for itself alone, and what it uses, beside others, until it ends."""

    def __init__(self) -> None:
        self._held = ExitStack()

    # After the checks, so that a run that is refused leaves nothing behind, no lock either. What others change until
    # the claim holds is found before each node, where hashes are compared again.
    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._held.close()  # of a run of this process that was interrupted
        locks = catalog.load("runs") / "locks"
        made = pipeline.all_outputs()
        with ExitStack() as claims:
            for file, name in sorted(files_of(pipeline, catalog).items()):
                claims.enter_context(claimed(locks / file.replace(os.sep, "-"), file, alone=name in made))
            self._held = claims.pop_all()

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._held.close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._held.close()


def files_of(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, str]:
    """{place, from here: dataset} of what a pipeline reads and writes on disk. MLflow looks after itself."""
    found: dict[str, Any] = {name: catalog.get(name) for name in pipeline.datasets() if name in catalog}
    return {
        os.path.relpath(dataset._filepath): name
        for name, dataset in found.items()
        if hasattr(dataset, "_filepath") and not isinstance(dataset, TrackingDataset)
    }
