"""Networks whose passes are compiled by torch.compile, those with a derivative too."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fewstep.networks.dual import Dual, jvp, through
from fewstep.networks.dual_layers import name_of
from fewstep.networks.network import Network

log = logging.getLogger(__name__)
BACKEND: Any = "inductor"  # of torch.compile
MOST_GRAPHS = 64  # of a process, each with its shapes, types and gradients
STEADY = ("deterministic", "fallback_random")
"""Options of inductor: kernels are not chosen by how fast they were this time, and random numbers are the plain pass's.
"""


def compile_passes(network: Network) -> None:
    """Every later pass of this network is compiled, forward and backward, and those of its copies are not."""
    network.call_by(compiled_call(network))


def compiled_call(network: Network, dynamic: bool | None = False) -> Callable[..., Any]:
    """A call of the network, forward and backward, that is compiled. dynamic: None, where batches differ in size.

    A pass through which jvp takes a derivative is one compiled function too: dual layers are traced with the network.
    Numbers are those of the plain network up to rounding, with the same dropout masks, and repeat themselves to the
    bit. Each combination of shapes, types, gradients and autocast is compiled when it first occurs.
    """

    def plain(*given: Any) -> Tensor:
        return network.forward(*given)

    def derived(given: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        return jvp(network.forward, given, tangents)

    compiled, compiled_derived = (_compiled(function, dynamic) for function in (plain, derived))

    def call(x: Any, c_noise: Any, labels: Any = None, second: Any = None, augment: Any = None) -> Any:
        given = x, c_noise, labels, second, augment
        return through(compiled_derived, given) if any(type(a) is Dual for a in given) else compiled(*given)

    _configure()
    return call


def _configure() -> None:
    """What torch.compile is told for all that it compiles in this process."""
    from torch._dynamo import config as tracing
    from torch._functorch import config as graphs

    torch.compiler.assume_constant_result(name_of)  # which cannot be traced; here, as this imports the compiler
    # A loss may be balanced by its gradients, which goes through the graph more than once (fewstep.losses.balance).
    graphs.donated_buffer = False
    # A network's pass stays one graph under DistributedDataParallel too, which would else cut it by its buckets.
    tracing.optimize_ddp = False
    # The graphs of all networks count as recompilations of one function: beyond the limit nothing would be compiled.
    tracing.recompile_limit = max(tracing.recompile_limit, MOST_GRAPHS)


def _compiled(function: Any, dynamic: bool | None = False) -> Any:
    from torch._inductor import config

    steady: dict[str, Any] = {name: True for name in STEADY if BACKEND == "inductor" and hasattr(config, name)}
    return torch.compile(function, backend=BACKEND, dynamic=dynamic, options=steady or None)


@cache
def compiler_works(device: str) -> bool:
    """Whether torch.compile can make code for this kind of device here. Where it cannot, a warning says why, once."""
    try:
        _compiled(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # the compilers of each device raise classes of their own
        reason = next(iter(str(error).splitlines()), "").strip()
        log.warning("Networks are not compiled, which costs speed and nothing else. torch.compile says: %s", reason)
        return False
    return True
