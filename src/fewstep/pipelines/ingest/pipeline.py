"""ingest: source -> images, extractor."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.ingest.nodes import ingest_images, make_extractor


def create_pipeline() -> Pipeline:
    """Source -> images, extractor."""
    features = ["params:evaluation.features", "params:evaluation.features_weights"]
    return Pipeline(
        [
            Node(ingest_images, ["params:data", "params:dataset", "workplace"], "images", name="ingest_images"),
            Node(make_extractor, ["images", *features, "workplace"], "extractor", name="make_extractor"),
        ]
    )
