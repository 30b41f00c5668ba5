"""The stages of `kedro run`, in their order."""

from fewstep.training.recipe import Recipe

STAGES = ("ingest", "teacher", "distill", "evaluate", "register")
IN_LATENTS = ("ingest", "encode", "teacher", "distill", "evaluate", "register")


def journey(student: Recipe, autoencoder: str | None = None) -> list[str]:
    """The pipelines that make a student of this recipe: the teacher's only where the recipe needs one, and that which
    encodes only where an autoencoder is asked for.
    """
    stages = IN_LATENTS if autoencoder else STAGES
    return [stage for stage in stages if student.needs_teacher or stage != "teacher"]
