"""register: student, teacher, scores, sheet, ladder -> registration, registry."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.register.nodes import register_student
from fewstep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Student, teacher, scores, sheet, ladder -> registration, registry."""
    inputs = ["student", "teacher", "scores", "sheet", "ladder", *RECORDS]
    return Pipeline([Node(register_student, inputs, ["registration", "registry"], name="register_student")])
