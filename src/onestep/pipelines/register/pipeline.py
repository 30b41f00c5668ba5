"""register: student, teacher, scores, sheet, ladder -> registration."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.register.nodes import register_student
from onestep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Student, teacher, scores, sheet, ladder -> registration."""
    inputs = ["student", "teacher", "scores", "sheet", "ladder", *RECORDS]
    return Pipeline([Node(register_student, inputs, "registration", name="register_student")])
