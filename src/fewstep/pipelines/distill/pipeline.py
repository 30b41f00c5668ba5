"""distill: images, teacher -> student."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.distill.nodes import train_student
from fewstep.pipelines.training import WORKPLACE


def create_pipeline() -> Pipeline:
    """Images, teacher -> student."""
    inputs = ["images", "teacher", "params:student", *WORKPLACE]
    return Pipeline([Node(train_student, inputs, "student", name="train_student")])
