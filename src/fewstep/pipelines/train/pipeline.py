"""train: images -> student."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.train.nodes import train_student_alone
from fewstep.pipelines.training import WORKPLACE


def create_pipeline() -> Pipeline:
    """Images -> student."""
    inputs = ["images", "params:student", *WORKPLACE]
    return Pipeline([Node(train_student_alone, inputs, "student", name="train_student_alone")])
