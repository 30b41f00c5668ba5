"""How the workers of one machine find each other: by a file.

Ray's own way is PyTorch's TCPStore, which listens on every interface and asks the resolver who calls it. It is left to
clusters, whose workers may have nothing but the network in common.
"""

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
import torch.distributed as dist
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig


@dataclass
class OneMachine(TorchConfig):
    """The process group of workers that all see one folder. folder: for the files by which they find each other."""

    folder: str = ""

    @property
    def backend_cls(self) -> type:
        """What Ray calls before a training and after it."""
        return _ByFile


class _ByFile(TorchConfig().backend_cls):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Workers that are started again get a new file: the last one names those who have died."""
        assert isinstance(backend_config, OneMachine)
        file, size = tempfile.mkdtemp(prefix="group-", dir=backend_config.folder) + "/workers", len(worker_group)
        joined = [worker_group.execute_single_async(i, _join, backend_config, file, i, size) for i in range(size)]
        ray.get(joined)


def _join(config: OneMachine, file: str, rank: int, size: int) -> None:
    wait = timedelta(seconds=config.timeout_s)
    dist.init_process_group(config.backend, init_method=f"file://{file}", rank=rank, world_size=size, timeout=wait)
