"""register: student, scores -> registration."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.register.nodes import register_student
from onestep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Student, scores -> registration."""
    return Pipeline([Node(register_student, ["student", "scores", *RECORDS], "registration", name="register_student")])
