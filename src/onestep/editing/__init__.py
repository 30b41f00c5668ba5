"""Zero-shot editing: what a student does to images without having been trained for it."""

from onestep.editing.edit import Edit
from onestep.editing.run import edit_images, images_noise, interpolate, seeds_noise
from onestep.editing.tasks import TASKS, Task, build_task

__all__ = ["TASKS", "Edit", "Task", "build_task", "edit_images", "images_noise", "interpolate", "seeds_noise"]
