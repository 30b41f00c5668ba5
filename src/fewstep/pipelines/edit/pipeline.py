"""edit: images, student, teacher -> gallery, edits, edited."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.edit.nodes import edit_gallery, track_gallery
from fewstep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Images, student, teacher -> gallery, edits, edited."""
    inputs = ["images", "student", "teacher", "params:editing", "runs"]
    return Pipeline(
        [
            Node(edit_gallery, inputs, ["gallery", "edits", "edited"], name="edit_gallery"),
            Node(track_gallery, ["gallery", "student", *RECORDS], None, name="track_gallery"),
        ]
    )
