"""Scores by nearest neighbours among features, in chunks, on the GPU if there is one: their memory is linear in the
number of images.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.support.device import best_device

NEIGHBOURHOOD = 3  # of precision and recall: Kynkaanniemi et al. 2019, section 3.1
DENSE = 5  # of density and coverage: Naeem et al. 2020, section 3.2
ROWS = 250  # whose distances to all others are held at a time


@dataclass(frozen=True)
class Neighbourhoods:
    """features: [N, D]. distances: [N, K], of each to its K nearest others, rising."""

    features: Tensor
    distances: Tensor

    @classmethod
    def of(cls, features: Tensor, neighbours: int = DENSE) -> "Neighbourhoods":
        """Of at least `neighbours` + 1 images, on the best device there is."""
        features = features.to(best_device())
        parts = (torch.cdist(part, features) for part in features.split(ROWS))
        nearest = [d.topk(neighbours + 1, largest=False).values[:, 1:] for d in parts]  # the first is the image itself
        return cls(features, torch.cat(nearest))

    def radius(self, neighbours: int) -> Tensor:
        """The distance of each to the last of so many neighbours, [N]."""
        return self.distances[:, neighbours - 1]


def compare_neighbours(found: Tensor, known: Neighbourhoods) -> dict[str, float]:
    """Precision and recall, as torch-fidelity and OpenAI's evaluator have them, and density and coverage, as their
    authors' code. found: samples [M, D]. Each distance is computed once.
    """
    each = Neighbourhoods.of(found, NEIGHBOURHOOD)
    own, device = each.radius(NEIGHBOURHOOD), each.features.device
    wide, dense = known.radius(NEIGHBOURHOOD), known.radius(DENSE)
    precise, inside = [], torch.zeros((), dtype=torch.int64, device=device)
    recalled, covered = (torch.zeros(len(known.features), dtype=torch.bool, device=device) for _ in range(2))
    for part, radii in zip(each.features.split(ROWS), own.split(ROWS), strict=True):
        distances = torch.cdist(part, known.features)
        precise.append((distances <= wide).any(1))
        recalled |= (distances <= radii[:, None]).any(0)
        near = distances < dense
        inside += near.sum()
        covered |= near.any(0)
    return {
        "precision": float(torch.cat(precise).float().mean()),
        "recall": float(recalled.float().mean()),
        "density": int(inside) / (DENSE * len(found)),
        "coverage": float(covered.float().mean()),
    }


def seconds_of_comparison(found: int, known: int, width: int) -> tuple[float, float]:
    """How long comparisons of so many samples and reference images take on this machine: (the first, each other one).

    It is measured on a few rows. width: features of an image.
    """
    few = torch.zeros(min(20_000, max(found, known)), width, device=best_device())
    part = few[:ROWS]
    torch.cdist(part, few)
    started = time.perf_counter()
    (torch.cdist(part, few) <= 1).any(1).cpu()  # which waits until it is done
    each = (time.perf_counter() - started) / (len(part) * len(few))
    once, again = each * known * known, each * found * (found + known)
    return once + again, again
