"""evaluate: images, extractor, teacher, student -> scores, metrics, levels, sheet, ladder."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.evaluate.nodes import score_models, track_scores


def create_pipeline() -> Pipeline:
    """Images, extractor, student and its teacher -> scores, metrics, the student's levels, sheet, ladder."""
    judged = ["images", "extractor", "teacher", "student", "params:evaluation", "workplace"]
    pictures = ["sheet", "ladder"]
    tracked = ["scores", "student", "teacher", *pictures, "workplace"]
    return Pipeline(
        [
            Node(score_models, judged, ["scores", "metrics", "levels", *pictures], name="score_models"),
            Node(track_scores, tracked, None, name="track_scores"),
        ]
    )
