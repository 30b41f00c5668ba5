"""teacher: images -> teacher."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.teacher.nodes import train_teacher


def create_pipeline() -> Pipeline:
    """Images, or their latents -> teacher."""
    inputs = ["images", "latents", "params:teacher", "workplace"]
    return Pipeline([Node(train_teacher, inputs, "teacher", name="train_teacher")])
