"""How the passes of a network run when it is sampled: in which precision, and whether they are compiled."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.networks.compiled import compiled_call, compiler_works
from fewstep.networks.network import Network
from fewstep.support.device import set_float32_precision
from fewstep.support.names import check_name

PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Execution:
    """precision: "fp32"; "tf32", in which GPUs multiply and convolve float32 faster, by 11 bits of each number; or
    "bf16", which is autocast, and TF32 for what autocast leaves in float32. compiled: by torch.compile.
    """

    precision: str = "fp32"
    compiled: bool = False

    def __post_init__(self):
        check_name("precision", self.precision, PRECISIONS)

    @classmethod
    def on(cls, device: torch.device | str, precision: str = "fp32", compile: bool | str = False) -> "Execution":
        """What these settings mean on a device. compile: "auto" is on GPUs; where no compiler works it means false."""
        kind = torch.device(device).type
        wanted = kind == "cuda" if compile == "auto" else bool(compile)
        return cls(precision, wanted and compiler_works(kind))

    def __str__(self) -> str:
        return f"{self.precision}{', compiled' * self.compiled}"

    def apply(self, network: Network) -> None:
        """Every later pass of this network runs so, and those of its copies do not.

        Batches of any size share one compiled pass, but for the first size and for batches of one.
        """
        call = compiled_call(network, dynamic=None) if self.compiled else network.forward
        as_written = self == PLAIN and next(network.parameters()).device.type == "cpu"
        network.call_by(None if as_written else self._in_precision(call))

    def _in_precision(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def precise(x: Tensor, *others: Any, **named: Any) -> Tensor:
            with self._precision(x.device):
                return call(x, *others, **named).to(x.dtype)

        return precise

    @contextmanager
    def _precision(self, device: torch.device) -> Generator[None]:
        """Within, a device computes in this precision; after it, in that of before."""
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        set_float32_precision(device, "highest" if self.precision == "fp32" else "high")
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                yield
        finally:
            if device.type == "cuda":
                torch.set_float32_matmul_precision(before[0])
                torch.backends.cudnn.allow_tf32 = before[1]


PLAIN = Execution()
