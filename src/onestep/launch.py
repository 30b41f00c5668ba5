"""Ray's only door: runs the training loop on n workers, here or on a cluster, and survives their deaths.

Checkpoints are the loop's own, in the run's folder: with no worker, one, or many they are the same files, and a worker
that dies is started again by Ray Train and goes on from the newest of them.
"""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from onestep.training.job import Job

RESTARTS = 5


@dataclass(frozen=True)
class LaunchSettings:
    """workers: Ray Train workers, 0 for this process without Ray. threads: CPU threads of each, 0 for an equal share.
    gpu: one for each worker; "auto" where there are any.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    workers: int = 1
    threads: int = 0
    gpu: bool | str = "auto"

    def __post_init__(self):
        for name in ("workers", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it is at least 0.")
        if self.gpu not in (True, False, "auto"):
            raise ValueError(f"gpu is {self.gpu!r}: it is true, false or auto.")


def launch(job: Job, run_dir: Path, settings: LaunchSettings) -> Path:
    """Train a job to its end, from where an interrupted run left it. Returns the folder of the finished model.

    Raises what the training raised (ValueError, OSError, Divergence) once, in the driver; ValueError if a worker cannot
    see the run's folder.
    """
    run_dir = run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / "model").exists():
        return run_dir / "model"
    if settings.workers == 0:
        return _train_here(job, run_dir, settings)
    (run_dir / "failure.json").unlink(missing_ok=True)
    _fit(job, run_dir, settings)
    _raise_failure(run_dir)
    return run_dir / "model"


def _train_here(job, run_dir, settings):
    import torch

    from onestep.training.loop import Worker, train

    torch.set_num_threads(settings.threads or os.cpu_count())
    gpu = torch.cuda.is_available() if settings.gpu == "auto" else settings.gpu
    return train(job, run_dir, Worker(device=torch.device("cuda" if gpu else "cpu")))


def connect():
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine; once per process."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return
    for name in ("ray", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    address = os.environ.get("RAY_ADDRESS")
    local = {} if address else {"include_dashboard": False, "num_cpus": os.cpu_count(), "_node_ip_address": "127.0.0.1"}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **local)


def _fit(job: Job, run_dir: Path, settings: LaunchSettings):
    connect()
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = ray.cluster_resources()
    gpu = bool(resources.get("GPU")) if settings.gpu == "auto" else settings.gpu
    threads = settings.threads or max(1, int(resources["CPU"]) // settings.workers)
    _check_resources(settings, threads, gpu, resources)
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job, "run_dir": str(run_dir), "threads": threads},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=gpu, resources_per_worker={"CPU": threads, "GPU": int(gpu)}
        ),
        run_config=RunConfig(
            name=run_dir.name, storage_path=str(run_dir / "ray"), failure_config=FailureConfig(max_failures=RESTARTS)
        ),
    )
    try:
        trainer.fit()
    except Exception:
        _raise_failure(run_dir)
        raise
    finally:
        shutil.rmtree(run_dir / "ray", ignore_errors=True)


def _check_resources(settings, threads, gpu, resources):
    asked = {"CPU": settings.workers * threads, "GPU": settings.workers * int(gpu)}
    for kind, amount in asked.items():
        if amount > resources.get(kind, 0):
            raise ValueError(
                f"{settings.workers} workers of {threads} threads need {amount} {kind}s, and Ray has "
                f"{resources.get(kind, 0):g}: ask for fewer workers or threads (launch.workers, launch.threads)."
            )


def work(config: dict):
    """What each Ray worker runs."""
    import ray.train
    import ray.train.torch
    import torch

    from onestep.training.loop import Divergence, Worker, train

    run_dir, context = Path(config["run_dir"]), ray.train.get_context()
    if (run_dir / "failure.json").exists():
        return  # a restart would only fail again
    torch.set_num_threads(config["threads"])
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    try:
        _check_shared(config["job"], run_dir)
        train(config["job"], run_dir, worker)
    except (ValueError, OSError, Divergence) as error:
        run_dir.mkdir(parents=True, exist_ok=True)
        failure = {"kind": type(error).__name__, "message": str(error)}
        (run_dir / "failure.json").write_text(json.dumps(failure))
        if worker.size > 1:
            raise  # the others wait for this worker: let Ray end them


def _check_shared(job: Job, run_dir: Path):
    missing = [p for p in (run_dir, job.data, job.teacher) if p and not Path(p).exists()]
    if missing:
        raise ValueError(
            f"a worker on {os.uname().nodename} cannot see {', '.join(map(str, missing))}: on several machines the "
            "project folder has to be on storage that all of them share, at the same path."
        )


def _raise_failure(run_dir: Path):
    file = run_dir / "failure.json"
    if not file.exists():
        return
    from onestep.training.loop import Divergence

    failure = json.loads(file.read_text())
    kinds = {"OSError": OSError, "Divergence": Divergence}
    raise kinds.get(failure["kind"], ValueError)(failure["message"])
