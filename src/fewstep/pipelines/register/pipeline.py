"""register: student, teacher, scores, levels, sheet, ladder, report -> registration, registry."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.register.nodes import register_student


def create_pipeline() -> Pipeline:
    """Student and its teacher, scores, levels, sheet, ladder, and the report if any -> registration, registry."""
    inputs = ["student", "teacher", "scores", "levels", "sheet", "ladder", "report", "workplace"]
    return Pipeline([Node(register_student, inputs, ["registration", "registry"], name="register_student")])
