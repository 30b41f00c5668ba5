"""promote: images, extractor, the registry -> promotions."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.promote.nodes import promote_version


def create_pipeline() -> Pipeline:
    """Images, extractor, the registry -> promotions."""
    given = ["images", "extractor", "tracking", "params:promotion", "params:evaluation"]
    return Pipeline([Node(promote_version, given, "promotions", name="promote_version")])
