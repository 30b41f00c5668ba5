"""Where a token is: a fixed table that is added to tokens, and a rotation of queries and keys."""

import torch
from torch import Tensor, nn

LONGEST = 10_000.0  # period of the slowest wave, in units of 2 pi patches


def waves(places: Tensor, count: int) -> Tensor:
    """Angles of places [N] -> [N, count], over periods from 2 pi to 2 pi 10000 patches, which is left out."""
    return torch.outer(places, LONGEST ** -(torch.arange(count, dtype=torch.float64) / count))


def rows_and_columns(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The row and the column of each token, [height width] each, float64."""
    places = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    rows, columns = torch.meshgrid(*places, indexing="ij")
    return rows.flatten(), columns.flatten()


def sine_cosine_table(height: int, width: int, channels: int) -> Tensor:
    """[sin, cos] of the column, then of the row, [1, height width, channels]: Peebles and Xie 2023, Section 3.2."""
    rows, columns = rows_and_columns(height, width)
    angles = waves(columns, channels // 4), waves(rows, channels // 4)
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1).float()[None]


class Rotary(nn.Module):
    """Pairs of a head's channels, turned by the place of their token: x [..., height width, channels] -> the same.

    Half of the pairs turn with the row, half with the column, so that a product of a query and a key depends on the
    distance of their tokens alone: Su et al. 2021, Eq. 34, in two dimensions.
    """

    def __init__(self, height: int, width: int, channels: int):
        super().__init__()
        angles = torch.cat([waves(places, channels // 4) for places in rows_and_columns(height, width)], dim=1)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        turned = torch.addcmul(first * self.cos, second, self.sin, value=-1)
        return torch.cat([turned, torch.addcmul(second * self.cos, first, self.sin)], dim=-1)
