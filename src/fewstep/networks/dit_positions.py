"""Where a token is: a fixed table that is added to tokens, and a rotation of queries and keys."""

import numpy as np
import torch
from torch import Tensor, nn

LONGEST = 10_000.0  # period of the slowest wave, in units of 2 pi patches
Table = np.ndarray  # by NumPy: arithmetic of PyTorch on the meta device would import the compiler, for seconds


def waves(places: Table, count: int) -> Table:
    """Angles of places [N] -> [N, count], over periods from 2 pi to 2 pi 10000 patches, which is left out."""
    return np.outer(places, LONGEST ** -(np.arange(count) / count))


def rows_and_columns(height: int, width: int) -> tuple[Table, Table]:
    """The row and the column of each token, [height width] each."""
    rows, columns = np.indices((height, width)).reshape(2, -1)
    return rows, columns


def sine_cosine_table(height: int, width: int, channels: int) -> Tensor:
    """[sin, cos] of the column, then of the row, [1, height width, channels]: Peebles and Xie 2023, Section 3.2."""
    rows, columns = rows_and_columns(height, width)
    angles = waves(columns, channels // 4), waves(rows, channels // 4)
    table = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return torch.tensor(table[None], dtype=torch.float32)


class Rotary(nn.Module):
    """Pairs of a head's channels, turned by the place of their token: x [..., height width, channels] -> the same.

    Half of the pairs turn with the row, half with the column, so that a product of a query and a key depends on the
    distance of their tokens alone: Su et al. 2021, Eq. 34, in two dimensions.
    """

    def __init__(self, height: int, width: int, channels: int):
        super().__init__()
        angles = np.concatenate([waves(places, channels // 4) for places in rows_and_columns(height, width)], axis=1)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", torch.tensor(np.cos(angles), dtype=torch.float32), persistent=False)
        self.register_buffer("sin", torch.tensor(np.sin(angles), dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        turned = torch.addcmul(first * self.cos, second, self.sin, value=-1)
        return torch.cat([turned, torch.addcmul(second * self.cos, first, self.sin)], dim=-1)
