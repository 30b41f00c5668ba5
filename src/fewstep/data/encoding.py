"""From images to a store of their latents: batch by batch, and taken up again where it was interrupted."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.autoencoders import Autoencoder, Coder
from fewstep.data.content_hash import chunks
from fewstep.data.latent_space import NUMERICS, LatentSpace
from fewstep.data.latent_store import DTYPE, LATENTS, LatentStore, describe_latents
from fewstep.data.store import ArrayStore
from fewstep.support.errors import InvalidInput
from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json

SIGMA_DATA = 0.5  # the standard deviation of what models see
BEGUN = "encoding.json"  # what is being encoded here
Measured = dict[str, list[float]]  # shift and scale of each channel


def encode_images(
    images: ArrayStore,
    autoencoder: Autoencoder,
    folder: Path,
    *,
    mirrored: bool = False,
    device: torch.device | str = "cpu",
    measured: Measured | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LatentStore:
    """The latents of all images of a store, in a folder, where an interrupted call with the same arguments is taken up.

    mirrored: with those of the mirrored images, for trainings that flip. measured: the normalisation, by default what
    brings each channel of the training images to a mean of 0 and a standard deviation of SIGMA_DATA. on_progress(done,
    total): images, each of them as often as it is encoded. Raises ValueError for images that the autoencoder does not
    take, or makes no finite latents of.
    """
    space = LatentSpace.of(images.space, autoencoder)
    facts = {"images": images.sha256, "autoencoder": autoencoder.sha256, "mirrored": mirrored, "numerics": NUMERICS}
    _begin(folder, facts)
    _write_latents(folder / LATENTS, images, space, 1 + mirrored, space.coder(device), on_progress)
    channels, train = space.model_shape[0], images.split["train"][1]
    if measured is None:
        measured = measure(np.load(folder / LATENTS, mmap_mode="r")[:train], channels)
    return describe_latents(folder, images, LatentSpace.of(images.space, autoencoder, **measured))


def measure(rows: np.ndarray, channels: int) -> Measured:
    """Shift and scale of each channel, of rows [N, copies, moments, h, w]: of the latents that are drawn, in float64.

    A channel that never changes is shifted to 0 and left at that.
    """
    mean = _mean(rows, lambda moments: moments[:, :, :channels])
    centre = mean[:, None, None]
    variance = _mean(rows, lambda moments: (moments[:, :, :channels] - centre) ** 2)
    if rows.shape[2] > channels:
        variance = variance + _mean(rows, lambda moments: moments[:, :, channels:] ** 2)
    if not variance.any():
        raise InvalidInput("All latents of the training images are the same: there is nothing to learn from them.")
    deviation = np.sqrt(np.where(variance > 0, variance, SIGMA_DATA**2))
    return {"shift": mean.tolist(), "scale": (SIGMA_DATA / deviation).tolist()}


def _mean(rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of a function of float64 rows, for each channel."""
    sums = sum(function(chunk.astype(np.float64)).sum((0, 1, 3, 4)) for chunk in chunks(rows))
    return np.asarray(sums) / (rows.size / rows.shape[2])


def _begin(folder: Path, facts: dict[str, Any]) -> None:
    """Make the folder, or leave in it what was encoded of the same. Raises ValueError where something else is there."""
    begun = folder / BEGUN
    if folder.exists() and not begun.is_file() and any(not each.name.startswith(".") for each in folder.iterdir()):
        raise InvalidInput(f"{folder} is there, and holds no latents that were begun: name another folder.")
    if begun.is_file() and parse_json(begun.read_text()) != facts:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(begun, facts)


def _write_latents(
    file: Path,
    images: ArrayStore,
    space: LatentSpace,
    copies: int,
    coder: Coder,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Rows as they are encoded, behind those that are there."""
    pixels, count = images.images(), images.count
    first = _moments(pixels[:1], space, 1, coder)
    shape = (count, copies, *first.shape[2:])
    header = {"descr": np.lib.format.dtype_to_descr(DTYPE), "fortran_order": False, "shape": shape}
    with open(file, "r+b" if file.exists() else "w+b") as opened:
        np.lib.format.write_array_header_1_0(opened, header)
        start, row = opened.tell(), DTYPE.itemsize * int(np.prod(shape[1:]))
        done = max(0, file.stat().st_size - start) // row
        opened.truncate(start + done * row)
        opened.seek(0, os.SEEK_END)
        for batch in _batches(pixels, done, space):
            opened.write(_moments(batch, space, copies, coder).tobytes())
            done += len(batch)
            if on_progress:
                on_progress(done, count)
        opened.flush()
        os.fsync(opened.fileno())


def _batches(pixels: np.ndarray, done: int, space: LatentSpace) -> Iterator[np.ndarray]:
    """The rows behind those that are done, as many together as are encoded at once."""
    for start in range(done, len(pixels), space.at_once):
        yield pixels[start : start + space.at_once]


@torch.no_grad()
def _moments(pixels: np.ndarray, space: LatentSpace, copies: int, coder: Coder) -> np.ndarray:
    """Of uint8 images [B, C, H, W]: float16 [B, copies, moments, h, w]."""
    device = next(iter(coder.parameters()), torch.empty(0)).device
    images = space.pixels.encode(torch.from_numpy(np.array(pixels)).to(device)) / space.scale
    found = [_joined(coder, part) for part in (images, images.flip(-1))[:copies]]
    moments = torch.stack(found, 1).half()
    if not torch.isfinite(moments).all():
        raise InvalidInput(
            f"{space.autoencoder.folder} makes latents that are not finite, or beyond what float16 holds."
        )
    return moments.cpu().numpy().astype(DTYPE)


def _joined(coder: Coder, images: Tensor) -> Tensor:
    mean, std = coder.encode(images)
    return mean if std is None else torch.cat([mean, std], 1)
