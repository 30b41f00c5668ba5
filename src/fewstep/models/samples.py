"""What a model samples: an array that also is pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image


class Samples(np.ndarray):
    """Stored values of samples, uint8 images [N, C, H, W] or float32 points [N, D]. Images can be made pictures."""

    def to_pil(self) -> "list[Image]":
        """A picture of each sample. Raises ValueError for points."""
        from fewstep.pictures.sheets import as_picture

        return [as_picture(image) for image in self._images()]

    def save_grid(self, file: Path | str, columns: int = 8) -> Path:
        """One picture of all samples, row by row, whose format the file's name says. Raises ValueError for points."""
        from PIL import Image

        from fewstep.pictures.saving import save_picture
        from fewstep.pictures.sheets import tile

        file = Path(file)
        save_picture(Image.fromarray(tile(self._images(), min(columns, len(self)))), file)
        return file

    def _images(self) -> np.ndarray:
        if self.ndim != 4 or self.dtype != np.uint8:
            raise InvalidInput(f"pictures need images, uint8 [N, C, H, W], got {self.dtype} {list(self.shape)}.")
        return np.asarray(self)
