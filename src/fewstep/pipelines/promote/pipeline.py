"""promote: images, extractor, registry -> promotions."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.promote.nodes import promote_version


def create_pipeline() -> Pipeline:
    """Images, extractor, registry -> promotions. In one run with `register` it comes after it."""
    given = ["images", "extractor", "registry", "params:promotion", "params:evaluation"]
    return Pipeline([Node(promote_version, given, "promotions", name="promote_version")])
