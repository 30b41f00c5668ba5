"""encode: images -> latents."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.encode.nodes import encode_latents


def create_pipeline() -> Pipeline:
    """Images -> latents."""
    inputs = ["images", "encoded", "params:data", "params:teacher", "params:student", "workplace"]
    return Pipeline([Node(encode_latents, inputs, "latents", name="encode_latents")])
