"""register: student, teacher, scores -> registration."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.register.nodes import register_student
from onestep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Student, teacher, scores -> registration."""
    inputs = ["student", "teacher", "scores", *RECORDS]
    return Pipeline([Node(register_student, inputs, "registration", name="register_student")])
