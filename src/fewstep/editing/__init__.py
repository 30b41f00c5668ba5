"""Zero-shot editing: what a student does to images without having been trained for it."""

from fewstep.editing.gallery import Trial, draw_gallery, named_pictures, try_pair, try_seeds, try_task, write_edited
from fewstep.editing.image_files import read_images
from fewstep.editing.multistep_edit import Edit
from fewstep.editing.run import check_teacher, edit_images, image_ends, interpolate, levels_of, seed_ends
from fewstep.editing.tasks import TASKS, Task, build_task
from fewstep.editing.trials import fitting_tasks, try_tasks

__all__ = [
    "TASKS",
    "Edit",
    "Task",
    "Trial",
    "build_task",
    "check_teacher",
    "draw_gallery",
    "edit_images",
    "fitting_tasks",
    "image_ends",
    "interpolate",
    "levels_of",
    "named_pictures",
    "read_images",
    "seed_ends",
    "try_pair",
    "try_seeds",
    "try_task",
    "try_tasks",
    "write_edited",
]
