"""Samples as OpenAI's evaluator reads them: an .npz whose arr_0 is uint8 [N, H, W, 3]."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from fewstep.data.space import DataSpace
from fewstep.support.colour import bytes_to_rgb
from fewstep.support.errors import InvalidInput
from fewstep.support.files import replaced_file

ROWS = 1000  # written at a time


def check_archive(space: DataSpace) -> None:
    """Raise InvalidInput for samples that are no images."""
    if space.kind != "images":
        raise InvalidInput(f"an .npz holds images, and {space.name} has {space.kind}: write an array (.npy).")


def write_archive(samples: np.ndarray, file: Path) -> None:
    """samples: uint8 [N, C, H, W], which may be mapped. Gray is repeated, and what is transparent is on white."""
    count, _, height, width = samples.shape
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, height, width, 3)}
    with (
        replaced_file(file) as partial,
        zipfile.ZipFile(partial, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for start in range(0, count, ROWS):
            colours = bytes_to_rgb(torch.from_numpy(np.array(samples[start : start + ROWS])))
            member.write(colours.permute(0, 2, 3, 1).numpy().tobytes())
