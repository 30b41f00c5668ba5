"""What a model samples: an array that also is pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image


class Samples(np.ndarray):
    """Stored values of samples, uint8 [N, C, H, W] or float32 [N, D], with pictures of the former."""

    def to_pil(self) -> "list[Image]":
        """A picture of each sample. Raises ValueError for points."""
        from PIL import Image

        pixels = np.asarray(self._images()).transpose(0, 2, 3, 1)
        return [Image.fromarray(each.squeeze(-1) if each.shape[-1] == 1 else each) for each in pixels]

    def save_grid(self, file: Path | str, columns: int = 8) -> Path:
        """One picture of all samples, row by row, whose format the file's name says. Raises ValueError for points."""
        from PIL import Image

        from fewstep.pictures.sheets import tile

        file = Path(file)
        Image.fromarray(tile(np.asarray(self._images()), min(columns, len(self)))).save(file)
        return file

    def _images(self) -> "Samples":
        if self.ndim != 4 or self.dtype != np.uint8:
            raise InvalidInput(f"pictures need images, uint8 [N, C, H, W], got {self.dtype} {list(self.shape)}.")
        return self
