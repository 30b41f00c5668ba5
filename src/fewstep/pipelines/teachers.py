"""The teacher that a student is shown beside, where it has one."""

from fewstep.models.model import SavedModel
from fewstep.support.errors import InvalidInput


def teacher_of(student: SavedModel, teacher: SavedModel | None) -> SavedModel | None:
    """The teacher of a student; None, and a line that says so, for a student that learned from data alone.

    teacher: the one that is there, if any. A student that was imported takes it as its own. Raises ValueError where the
    student's teacher is missing, or is another.
    """
    name, made_by = student.spec.name, student.spec.provenance
    if made_by.imported:
        return teacher
    if made_by.teacher_sha256 is None:
        print(f"{name} learned from data alone: no teacher is shown beside it.", flush=True)
        return None
    if teacher is None:
        raise InvalidInput(f"there is no teacher of {name}: kedro run --pipelines=teacher,distill, or dvc pull")
    if teacher.sha256 != made_by.teacher_sha256:
        raise InvalidInput(f"{name} had another teacher than the one on disk: kedro run --pipelines=distill")
    return teacher
