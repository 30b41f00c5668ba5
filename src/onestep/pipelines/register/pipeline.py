"""register: student, scores -> registration."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.register.nodes import register_student


def create_pipeline() -> Pipeline:
    """Student, scores -> registration."""
    inputs = ["student", "scores", "runs", "tracking", "parameters"]
    return Pipeline([Node(register_student, inputs, "registration", name="register_student")])
