"""teacher: images -> teacher."""

from kedro.pipeline import Node, Pipeline

from onestep.pipelines.teacher.nodes import train_teacher


def create_pipeline() -> Pipeline:
    """Images -> teacher."""
    return Pipeline(
        [Node(train_teacher, ["images", "runs", "tracking", "parameters"], "teacher", name="train_teacher")]
    )
