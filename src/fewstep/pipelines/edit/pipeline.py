"""edit: images, student, teacher, levels -> gallery, edits, edited."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.edit.nodes import edit_gallery, track_gallery


def create_pipeline() -> Pipeline:
    """Images, student, its teacher and its levels -> gallery, edits, edited."""
    inputs = ["images", "student", "teacher", "levels", "params:editing"]
    return Pipeline(
        [
            Node(edit_gallery, inputs, ["gallery", "edits", "edited"], name="edit_gallery"),
            Node(track_gallery, ["gallery", "student", "workplace"], None, name="track_gallery"),
        ]
    )
