"""From the images that a task is given to model values, and from its result to images: of pixels or of latents."""

import numpy as np
from torch import Tensor

from fewstep.data.latent_space import LatentSpace
from fewstep.data.space import DataSpace
from fewstep.diffusion.functions import Randomness
from fewstep.editing.tasks import Task


def given_values(
    space: DataSpace, task: Task, images: np.ndarray, rng: Randomness | None = None
) -> tuple[Tensor, np.ndarray]:
    """What a task starts from, and the images that show it. images: uint8 [N, C, H, W], complete if there is an rng, so
    that the task first takes from them what it restores.

    An autoencoder sees only what the task is given: what is missing is grey before it is encoded.
    """
    sees_pixels = isinstance(space, LatentSpace) and not task.degrades_values
    of_images = space.pixels if isinstance(space, LatentSpace) and sees_pixels else space
    y = of_images.encode(images)
    if rng is not None:
        y = task.degrade(y, rng)
    shown = of_images.decode(task.shown(y))
    return (space.encode(shown) if sees_pixels else y), shown


def edited_images(space: DataSpace, task: Task, edited: Tensor, images: np.ndarray) -> np.ndarray:
    """The images of model values that a task made of images; what was known of them is as it was, to the bit."""
    return task.pasted(space.decode(edited), images)
