"""The pipelines there are, by name."""

from pathlib import Path

from kedro.framework.project import settings
from kedro.pipeline import Pipeline

from fewstep.pipelines import compare, distill, edit, evaluate, ingest, promote, register, report, teacher, train


def register_pipelines() -> dict[str, Pipeline]:
    """`kedro run` makes the whole journey; each step has a name of its own."""
    journey = {
        "ingest": ingest.create_pipeline(),
        "teacher": teacher.create_pipeline(),
        "distill": distill.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "register": register.create_pipeline(),
    }
    others = {
        "train": train.create_pipeline(),
        "compare": compare.create_pipeline(recipe_names()),
        "promote": promote.create_pipeline(),
        "edit": edit.create_pipeline(),
        "report": report.create_pipeline(),
    }
    return {**journey, **others, "__default__": sum(journey.values(), Pipeline([]))}


def recipe_names() -> list[str]:
    """The recipes there are: files of their names."""
    return sorted(file.stem for file in Path(settings.CONF_SOURCE).glob("base/parameters/recipes/*.yml"))
