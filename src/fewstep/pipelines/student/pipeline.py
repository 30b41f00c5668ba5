"""distill, or train: images, teacher -> student."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.student.nodes import train_student


def create_pipeline() -> Pipeline:
    """Images or their latents, and the teacher of recipes that need one -> student."""
    inputs = ["images", "latents", "teacher", "params:student", "workplace"]
    return Pipeline([Node(train_student, inputs, "student", name="train_student")])
