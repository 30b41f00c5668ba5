"""The pipelines there are, by name."""

from kedro.pipeline import Pipeline

from onestep.pipelines import distill, evaluate, ingest, register, teacher


def register_pipelines() -> dict[str, Pipeline]:
    """`kedro run` makes the whole journey; each step has a name of its own."""
    journey = {
        "ingest": ingest.create_pipeline(),
        "teacher": teacher.create_pipeline(),
        "distill": distill.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "register": register.create_pipeline(),
    }
    return {**journey, "__default__": sum(journey.values(), Pipeline([]))}
