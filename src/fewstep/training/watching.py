"""What a training tells beside its loss: arithmetic, memory, and the seconds that its steps waited for something."""

import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fewstep.diffusion.randomness import StepRandomness
from fewstep.objectives import Networks
from fewstep.support.memory import peak_memory

if TYPE_CHECKING:
    from fewstep.training.loop import Training

COUNTED = 8  # samples, or a group where that is more
SETTLED = 10.0  # seconds after which the arithmetic is counted: short trainings do without


class Lost:
    """{what: seconds that steps of this process waited for it}: data, pictures, checkpoints."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def to(self, what: str) -> Generator[None]:
        """What is done here counts."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - started


class Watch:
    """The figures of a training for its lines of progress. They need nothing that the device would be waited for."""

    def __init__(self, training: "Training"):
        self.training, self.flops = training, None

    def facts(self, images_per_second: float, elapsed: float) -> dict[str, float]:
        """{seconds_lost_to_<what>; peak_memory_gib where it is known; tflops, of all workers, once it is settled}."""
        found = {f"seconds_lost_to_{what}": round(spent, 2) for what, spent in self.training.lost.seconds.items()}
        if (memory := peak_memory(self.training.worker.device)) is not None:
            found["peak_memory_gib"] = round(memory / 2**30, 3)
        # Sharded, a pass needs all workers.
        if self.flops is None and elapsed >= SETTLED and not self.training.sharded:
            self.flops = flops_of_a_sample(self.training)
        if self.flops is not None:
            found["tflops"] = float(f"{self.flops * images_per_second / 1e12:.4g}")
        return found


def flops_of_a_sample(training: "Training") -> float:
    """Floating-point operations that the next step makes for one sample, as torch counts them.

    They are counted on a forward and a backward pass of a few samples, whose gradient is thrown away: nothing of the
    training changes, and no other worker takes part.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports much, and short trainings do without

    device, group = training.worker.device, training.objective.group
    # Of a few samples, because groups belong together, and shares of the rows have losses of their own.
    count = min(max(group, COUNTED // group * group), training.settings.batch_size)
    rows = slice(0, count)
    networks = replace(training.networks, mean_over_workers=Tensor.detach, at_levels=Networks.at_levels)
    rng = StepRandomness(training.job.recipe.seed, training.step, training.settings.batch_size, rows, device)
    batch, progress = training.batches(training.step, rows, device), training.progress_at(training.step)
    trained = [p for p in training.step_module.trained.parameters() if p.requires_grad]
    plain = torch.compiler.set_stance("force_eager") if training.compiled else nullcontext()
    with plain, FlopCounterMode(display=False) as counter:
        losses = training.objective(networks, batch, progress, rng)
        each = losses.values() if isinstance(losses, dict) else [losses]
        torch.autograd.grad(torch.stack(list(each)).sum(), trained, allow_unused=True)
    return counter.get_total_flops() / count
