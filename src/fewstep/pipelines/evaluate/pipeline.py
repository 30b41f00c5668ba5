"""evaluate: images, extractor, teacher, student -> scores, metrics, sheet, ladder."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.evaluate.nodes import score_models, track_scores
from fewstep.pipelines.training import RECORDS


def create_pipeline() -> Pipeline:
    """Images, extractor, teacher, student -> scores, metrics, sheet, ladder."""
    judged = ["images", "extractor", "teacher", "student", "params:evaluation", "runs"]
    pictures = ["sheet", "ladder"]
    tracked = ["scores", "student", "teacher", *pictures, *RECORDS]
    return Pipeline(
        [
            Node(score_models, judged, ["scores", "metrics", *pictures], name="score_models"),
            Node(track_scores, tracked, None, name="track_scores"),
        ]
    )
