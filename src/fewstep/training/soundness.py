"""Whether every step so far was finite, known on the device: a step need not wait for the answer."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Soundness:
    """The numbers of the last step or, if there was one, of the first step whose loss or gradient was not finite.

    Tensors on the device. broken: 1.0 if there was such a step, else 0.0, as fused optimisers take it (found_inf).
    numbers: the student's loss and gradient norm, [2]. seen: [1 + 2 parts, batch], see blamed_levels. step: its number.
    """

    def __init__(self, device: torch.device):
        self.broken = torch.zeros((), dtype=torch.float32, device=device)
        self.step = torch.zeros((), dtype=torch.long, device=device)
        self.numbers, self.seen = torch.zeros(2, device=device), torch.zeros(0, 0, device=device)

    def note(self, step: int, loss: Tensor, norms: Mapping[str, Tensor], seen: Tensor) -> None:
        """Take the numbers of a step. loss, norms ({module: norm of its gradient}): the same on all workers, so that
        all of them stop.
        """
        before = self.broken > 0
        numbers = torch.stack([loss, norms["student"].float()])
        self.step = torch.where(before, self.step, step)
        self.numbers = torch.where(before, self.numbers, numbers)
        if seen.shape == self.seen.shape:
            self.seen = torch.where(before, self.seen, seen)
        elif not before:  # the first step, or a method whose losses get other parts on its way: rare enough to look
            self.seen = seen
        finite = torch.stack([loss.double(), *(norm.double() for norm in norms.values())]).isfinite().all()
        self.broken = torch.maximum(self.broken, 1.0 - finite.float())


def blamed_levels(seen: Tensor) -> str:
    """The levels to blame, in words: those of the parts that are not finite in the first sample that has such parts.

    seen: [1 + 2 parts, batch]: the loss of each sample, then each part of it, followed by the part's level. A range, if
    no sample is to blame or all are. A weight of the whole batch spoils every loss, so the parts are asked first.
    """
    bad, levels = ~seen[1::2].isfinite(), seen[2::2]
    samples = bad.any(0) if bad.any() else ~seen[0].isfinite()
    if samples.all() or not samples.any():
        levels = levels[bad.any(1)] if bad.any() else levels
        return f"levels {levels.min().item():g} to {levels.max().item():g}"
    bad, levels = bad[:, samples][:, 0], levels[:, samples][:, 0]
    found = dict.fromkeys(f"{level:g}" for level in (levels[bad] if bad.any() else levels).tolist())
    return f"level{'s' * (len(found) > 1)} {', '.join(found)}"
