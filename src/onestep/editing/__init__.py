"""Zero-shot editing: what a student does to images without having been trained for it."""

from onestep.editing.edit import Edit
from onestep.editing.gallery import Trial, draw_gallery, try_pair, try_seeds, try_task, write_edited
from onestep.editing.pictures import read_images
from onestep.editing.run import edit_images, image_ends, interpolate, levels_of, seed_ends
from onestep.editing.tasks import TASKS, Task, build_task

__all__ = [
    "TASKS",
    "Edit",
    "Task",
    "Trial",
    "build_task",
    "draw_gallery",
    "edit_images",
    "image_ends",
    "interpolate",
    "levels_of",
    "read_images",
    "seed_ends",
    "try_pair",
    "try_seeds",
    "try_task",
    "write_edited",
]
