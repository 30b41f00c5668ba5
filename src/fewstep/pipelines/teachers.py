"""The teacher that a student is shown beside, where it has one."""

from fewstep.models.model import SavedModel


def teacher_of(student: SavedModel, teacher: SavedModel | None) -> SavedModel | None:
    """The teacher of a student; None, and a line that says so, for a student that learned from data alone.

    teacher: the one that is there, which taught this student (fewstep.pipelines.agreement). A student that was imported
    takes it as its own.
    """
    made_by = student.spec.provenance
    if made_by.imported or made_by.teacher_sha256 is not None:
        return teacher
    print(f"{student.spec.name} learned from data alone: no teacher is shown beside it.", flush=True)
    return None
