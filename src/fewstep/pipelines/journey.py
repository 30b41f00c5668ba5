"""The stages of `kedro run`, in their order."""

from fewstep.training.recipe import Recipe

STAGES = ("ingest", "teacher", "distill", "evaluate", "register")


def journey(student: Recipe) -> list[str]:
    """The pipelines that make a student of this recipe: the teacher's only where the recipe needs one."""
    return [stage for stage in STAGES if student.needs_teacher or stage != "teacher"]
