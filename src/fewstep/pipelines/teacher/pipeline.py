"""teacher: images -> teacher."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.teacher.nodes import train_teacher


def create_pipeline() -> Pipeline:
    """Images -> teacher."""
    return Pipeline([Node(train_teacher, ["images", "params:teacher", "workplace"], "teacher", name="train_teacher")])
