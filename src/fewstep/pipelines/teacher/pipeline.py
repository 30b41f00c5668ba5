"""teacher: images -> teacher."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.teacher.nodes import train_teacher
from fewstep.pipelines.training import WORKPLACE


def create_pipeline() -> Pipeline:
    """Images -> teacher."""
    inputs = ["images", "params:teacher", *WORKPLACE]
    return Pipeline([Node(train_teacher, inputs, "teacher", name="train_teacher")])
