"""report: images, extractor, teacher, student, scores, levels -> sampler_scores, report, report_pictures."""

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.report.nodes import score_samplers, track_report, write_report


def create_pipeline() -> Pipeline:
    """Images, extractor, student and its teacher, scores, levels -> sampler_scores, report, report_pictures."""
    judged = ["images", "extractor", "student", "teacher", "scores", "params:report", "params:evaluation"]
    shown = ["images", "teacher", "student", "sampler_scores", "levels", "params:editing", "params:evaluation"]
    return Pipeline(
        [
            Node(score_samplers, judged, "sampler_scores", name="score_samplers"),
            Node(write_report, shown, ["report", "report_pictures"], name="write_report"),
            Node(track_report, ["report", "report_pictures", "student", "workplace"], None, name="track_report"),
        ]
    )
