"""The pipelines there are, by name."""

from pathlib import Path

from kedro.framework.project import settings
from kedro.pipeline import Pipeline

from fewstep.pipelines import compare, edit, encode, evaluate, ingest, promote, register, report, student, teacher


def register_pipelines() -> dict[str, Pipeline]:
    """`kedro run` makes the whole journey; each step has a name of its own. `train` is another name of `distill`."""
    stages = {
        "ingest": ingest.create_pipeline(),
        "teacher": teacher.create_pipeline(),
        "distill": student.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "register": register.create_pipeline(),
    }
    others = {
        "train": stages["distill"],
        "encode": encode.create_pipeline(),
        "compare": compare.create_pipeline(recipe_names()),
        "promote": promote.create_pipeline(),
        "edit": edit.create_pipeline(),
        "report": report.create_pipeline(),
    }
    return {**stages, **others, "__default__": sum(stages.values(), Pipeline([]))}


def recipe_names() -> list[str]:
    """The recipes there are: files of their names."""
    return sorted(file.stem for file in Path(settings.CONF_SOURCE).glob("base/parameters/recipes/*.yml"))
