"""Scores by nearest neighbours among features, in chunks: their memory is linear in the number of images."""

import torch
from torch import Tensor

NEIGHBOURHOOD = 3  # Kynkaanniemi et al. 2019, section 3.1
ROWS = 250  # whose distances to all others are held at a time


def precision_and_recall(found: Tensor, known: Tensor) -> tuple[float, float]:
    """Of samples [N, D] and reference [M, D], as in torch-fidelity and OpenAI's evaluator, in half their time: each
    distance is computed once.
    """
    far, reach = radii(found).split(ROWS), radii(known)
    precise, recalled = [], torch.zeros(len(known), dtype=torch.bool)
    for part, own in zip(found.split(ROWS), far, strict=True):
        distances = torch.cdist(part, known)
        precise.append((distances <= reach).any(1))
        recalled |= (distances <= own[:, None]).any(0)
    return float(torch.cat(precise).float().mean()), float(recalled.float().mean())


def radii(features: Tensor, neighbours: int = NEIGHBOURHOOD) -> Tensor:
    """The distance of each to its nearest but `neighbours` - 1, beside itself."""
    distances = (torch.cdist(part, features) for part in features.split(ROWS))
    return torch.cat([d.topk(neighbours + 1, largest=False).values[:, -1] for d in distances])
