"""Ray's only door: runs the training loop on n workers, here or on a cluster, and survives their deaths.

Checkpoints are the loop's own, in the run's folder: with no worker, one, or many they are the same files, and a worker
that dies is started again by Ray Train and goes on from the newest of them.
"""

import errno
import json
import logging
import math
import os
import shutil
import socket
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewstep.support.checks import at_least, check_fields, instance_of, one_of, up_to, whole
from fewstep.support.errors import FAMILY, InvalidInput, OutOfMemory, StorageError, Unreachable, UserError, family_of
from fewstep.support.files import OUT_OF_SPACE
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name
from fewstep.support.processes import end_with_this_process, ended_by_sigterm
from fewstep.training.checkpoint import load_newest
from fewstep.training.job import Job

if TYPE_CHECKING:
    import torch
    from ray.train.torch import TorchConfig

    from fewstep.training.loop import Worker

RESTARTS, STARTS = 5, 3
ROOM = 64 * 2**20  # bytes
MOST = 2**16  # workers, or threads of each
FAILURE = "failure.json"
SHARDS = ("auto", "none", "full")
MATMUL_PRECISIONS = ("auto", "highest", "high", "medium")
SHARED = "on several machines the project folder is on storage that all of them share, at the same path."


@dataclass(frozen=True)
class LaunchSettings:
    """workers: Ray Train workers, 0 for this process without Ray. threads: CPU threads of each, 0 for an equal share.
    gpu: one for each worker; "auto" where there are any. compile: networks by torch.compile; "auto" on GPUs.
    float32_matmul_precision: of GPUs, as torch names it: "highest" is float32, "high" is TF32 where it is faster, and
    "auto" is that for methods whose gradient bears the rounding of bf16.
    checkpoint_activations: keep the inputs of the networks' blocks alone for the backward pass, which computes the rest
    again: less memory, more time, the same bits.
    shard: "full" cuts weights, averages and optimisers among the workers, which put the weights of a block together
    where they use them; "auto" does so on GPUs where the whole of it would not fit.
    other_numerics: go on from a checkpoint that was written by other versions of the numerics, which is refused
    otherwise.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    workers: int = 1
    threads: int = 0
    gpu: bool | str = "auto"
    compile: bool | str = "auto"
    float32_matmul_precision: str = "auto"
    checkpoint_activations: bool = False
    shard: str = "auto"
    other_numerics: bool = False

    def __post_init__(self):
        number = up_to(MOST, whole(at_least(0)))
        auto = one_of(True, False, "auto")
        check_fields(self, workers=number, threads=number, gpu=auto, compile=auto)
        check_fields(self, checkpoint_activations=instance_of(bool, "true or false"))
        check_name("float32_matmul_precision", self.float32_matmul_precision, MATMUL_PRECISIONS)
        check_name("shard", self.shard, SHARDS)
        if self.shard == "full" and self.compile is True:
            raise InvalidInput("launch.compile must be false or auto with launch.shard full, which is not compiled.")

    def device(self):
        """The torch.device of a training in this process."""
        import torch

        gpu = torch.cuda.is_available() if self.gpu == "auto" else self.gpu
        return torch.device("cuda" if gpu else "cpu")

    def compiles(self, device: "torch.device") -> bool:
        """Whether networks are compiled on this device, if that is possible there."""
        return device.type == "cuda" if self.compile == "auto" else bool(self.compile)

    def shards(self, job: Job, device: "torch.device") -> bool:
        """Whether several workers cut the state of a job among them."""
        if self.shard == "auto" and device.type == "cuda":
            import torch

            from fewstep.training.footprint import fits, state_bytes

            return not fits(state_bytes(job), torch.cuda.get_device_properties(device).total_memory)
        return self.shard == "full"

    def worker(self, job: Job, device: "torch.device", rank: int = 0, size: int = 1) -> "Worker":
        """One of `size` processes that train a job with these settings."""
        from fewstep.training.loop import Worker

        shards = size > 1 and self.shards(job, device)
        return Worker(rank, size, device, self.compiles(device), self.checkpoint_activations, shards)

    def set_float32_precision(self, job: Job, device: "torch.device") -> None:
        """How this process multiplies float32 matrices in the training of a job."""
        from fewstep.support.device import set_float32_precision

        chosen = self.float32_matmul_precision
        of_method = "high" if job.recipe.objective.bears_bf16 else "highest"
        set_float32_precision(device, of_method if chosen == "auto" else chosen)

    def threads_here(self) -> int:
        """CPU threads of a worker on this machine alone, where the process counts as one if there is none."""
        return self.threads or max(1, (os.cpu_count() or 1) // max(1, self.workers))

    def words(self) -> str:
        """Who trains: "2 workers of 1 thread each"."""

        def count(number: int, name: str) -> str:
            return f"{number} {name}{'s' * (number != 1)}"

        threads = count(self.threads_here(), "thread")
        return f"{count(self.workers, 'worker')} of {threads} each" if self.workers else f"one process of {threads}"


def launch(job: Job, run_dir: Path, settings: LaunchSettings) -> Path:
    """Train a job to its end, from where an interrupted run left it. Returns the folder of the finished model.

    Raises what the training raised, once, in the driver: the same UserError, or for a bug RuntimeError with the
    worker's traceback. InvalidInput if a worker cannot see the run's folder, or if the machines have too few CPUs or
    GPUs.
    """
    run_dir = run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / "model").exists():
        return run_dir / "model"
    if settings.workers == 0:
        return _train_here(job, run_dir, settings)
    load_newest(run_dir / "checkpoints")  # says here, where people see it, which of them are damaged
    connect()
    # A folder of its own for each launch, so that the failure of an earlier one is not taken for that of this one.
    launched = Path(tempfile.mkdtemp(prefix="launch-", dir=run_dir))
    try:
        _fit(job, run_dir, launched, settings)
    finally:
        shutil.rmtree(launched, ignore_errors=True)
    # Launches that were killed could not remove theirs.
    for remains in run_dir.glob("launch-*"):
        shutil.rmtree(remains, ignore_errors=True)
    return run_dir / "model"


def _train_here(job: Job, run_dir: Path, settings: LaunchSettings) -> Path:
    import torch

    from fewstep.training.loop import train

    torch.set_num_threads(settings.threads_here())
    device = settings.device()
    settings.set_float32_precision(job, device)
    return train(job, run_dir, settings.worker(job, device))


def connect():
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine; once per process."""
    # Ray reads these when it is imported. The health check finds a dead worker within half a second; `uv run` must not
    # build another environment for workers; workers without GPUs may still see the machine's GPUs. At Ray's own
    # niceness of 15 a training almost stands still while one other process is busy (docs/results.md).
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        # Named for other systems, but heard on each: without clusters Ray listens on loopback alone, and does not ask
        # the network which address this machine has.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # A process more, which asks whether a cloud is about to take this machine away.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        _keep_to_loopback()
    import ray

    if ray.is_initialized():
        return
    for name in ("ray", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not address:
        check_room()
        _leave_out_dashboard()
    # These options are not allowed when joining a cluster.
    local = {} if address else {"include_dashboard": False, "num_cpus": os.cpu_count()}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    started = _started(address, **quiet, **local)
    if not address:  # Ray's agents would outlive a driver that is killed by minutes
        end_with_this_process(started.address_info["session_dir"], "agent")


def _keep_to_loopback() -> None:
    """Let workers listen to each other on loopback, unless the user says otherwise: by themselves Gloo and NCCL choose
    an address that other machines may reach.
    """
    name = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


def _started(address: str | None, **options: Any) -> Any:
    """ray.init, tried again if Ray's own processes take longer than the 30 s that it waits for them, which has no
    setting: on a busy machine they do. On this machine a RayContext.
    """
    import ray

    for _ in range(STARTS):
        try:
            return ray.init(address=address, **options)
        except ConnectionError as error:
            raise Unreachable(f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}") from error
        except Exception as error:
            if type(error) is not Exception:  # Ray has no class for it
                raise
            ray.shutdown()
    raise Unreachable(
        f"Ray did not start on this machine within 30 s, {STARTS} times: other programs leave it no time. End them, or "
        "train in this process (launch.workers=0). Nothing is lost."
    )


def check_room() -> None:
    """Raise StorageError where Ray could not keep its files: it would only say after a minute that it did not start."""
    place = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
    try:
        room = shutil.disk_usage(place).free if os.access(place, os.W_OK) else 0
    except OSError:
        room = 0
    if room < ROOM:
        raise StorageError(
            f"Ray keeps its files in {place}, and {room / 2**20:.0f} MB can be written there, where {ROOM / 2**20:.0f} "
            "are needed: make room, name another folder (TMPDIR), or train in this process (launch.workers=0).",
            errno.ENOSPC,
        )


def _leave_out_dashboard():
    """Ray starts its process without a dashboard too, only to ask clouds' metadata services where it runs, with usage
    statistics off as well. In its place stands an address that refuses, so that those who ask for it need not wait.
    """
    # Private: no public option of ray.init, and no variable, leaves this process out.
    from ray._private import ray_constants
    from ray._private.node import Node

    def stand_in(self: Node, *, include_dashboard: bool | None = None, raise_on_failure: bool = False) -> None:
        address = ray_constants.DASHBOARD_ADDRESS.encode(), b"127.0.0.1:1"
        client = self.get_gcs_client()
        assert client is not None
        client.internal_kv_put(*address, True, ray_constants.KV_NAMESPACE_DASHBOARD)

    Node.start_api_server = stand_in


def _fit(job: Job, run_dir: Path, launched: Path, settings: LaunchSettings):
    """launched: a folder for what Ray keeps, and for failure.json, in which a worker says why it gave up."""
    import ray
    from ray.exceptions import RayError
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpu = any(machine.get("GPU") for machine in machines) if settings.gpu == "auto" else bool(settings.gpu)
    threads = share_threads(settings, gpu, machines)
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "job": job,
            "run_dir": str(run_dir),
            "launched": str(launched),
            "threads": threads,
            "settings": settings,
        },
        torch_config=_process_group("nccl" if gpu else "gloo", launched),
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=gpu, resources_per_worker={"CPU": threads, "GPU": int(gpu)}
        ),
        run_config=RunConfig(
            name="ray", storage_path=str(launched), failure_config=FailureConfig(max_failures=RESTARTS)
        ),
    )
    try:
        with ended_by_sigterm():  # in place of Ray's own handler, which aborts the process after three seconds
            trainer.fit()
    except TrainingFailedError as error:
        _raise_failure(launched)
        raise _given_up(job, error) from error
    except RayError as error:
        raise _left_alone(job, error) from error
    _raise_failure(launched)


def _process_group(backend: str, launched: Path) -> "TorchConfig":
    """How workers find each other: on one machine by a file, and on a cluster by the network."""
    from ray.train.torch import TorchConfig

    from fewstep.launch.process_group import OneMachine

    return TorchConfig(backend) if os.environ.get("RAY_ADDRESS") else OneMachine(backend, folder=str(launched))


def _given_up(job: Job, error: Exception) -> Exception:
    """What is raised once Ray has started the workers for the last time, from its TrainingFailedError."""
    from ray.exceptions import RayActorError

    failures = getattr(error, "worker_failures", {}).values()
    # Ray wraps the death of a process in an exception of its own. The others then fail to reach that worker.
    if any(isinstance(getattr(failure, "health_check_failure", failure), RayActorError) for failure in failures):
        return OutOfMemory(
            f"the workers of {job.name} were killed {RESTARTS + 1} times, which a system does where memory runs out: "
            "set a smaller training.micro_batch_size, or fewer launch.workers on each machine. The training goes on "
            f"from its last checkpoint. What the last one left: {error}"
        )
    return RuntimeError(f"the workers of {job.name} failed {RESTARTS + 1} times. What the last one left: {error}")


def _left_alone(job: Job, error: Exception) -> Exception:
    """What is raised if not a worker but the process of Ray that leads them was ended from outside."""
    from ray.exceptions import OutOfMemoryError, RayActorError

    if not isinstance(error, OutOfMemoryError | RayActorError):
        return error
    first = next(iter(str(error).splitlines()), "").strip()
    return OutOfMemory(
        f"the process of Ray that leads the training of {job.name} was ended from outside, as Ray or the system does "
        "if the machine's memory runs out, whichever program has taken it. The same command goes on from the last "
        "checkpoint. If this happens again, end other programs or set a smaller training.micro_batch_size. "
        f"Ray: {first}"
    )


def share_threads(settings: LaunchSettings, gpu: bool, machines: list[dict[str, float]]) -> int:
    """CPU threads of each worker: those asked for, or the most with which all workers find a place.

    machines: {"CPU": number, "GPU": number} of each. Raises ValueError if the workers find no place.
    """
    most = int(max(machine.get("CPU", 0) for machine in machines))
    for threads in [settings.threads] if settings.threads else range(most, 0, -1):
        if sum(_places(machine, threads, gpu) for machine in machines) >= settings.workers:
            return threads
    asked, there = settings.threads or 1, [f"{m.get('CPU', 0):g} CPUs, {m.get('GPU', 0):g} GPUs" for m in machines]
    raise InvalidInput(
        f"{settings.workers} workers of {asked} threads need {settings.workers * asked} CPUs"
        f"{f' and {settings.workers} GPUs' * gpu}, and Ray has {'; '.join(there)}: set fewer workers or threads "
        "(launch.workers, launch.threads), or no GPU (launch.gpu)."
    )


def _places(machine: dict[str, float], threads: int, gpu: bool) -> int:
    """Workers that a machine has room for."""
    return int(min(machine.get("CPU", 0) // threads, machine.get("GPU", 0) if gpu else math.inf))


def work(config: dict):
    """What each Ray worker runs."""
    import ray.train
    import ray.train.torch
    import torch

    from fewstep.training.loop import train

    run_dir, launched, context = Path(config["run_dir"]), Path(config["launched"]), ray.train.get_context()
    if (launched / FAILURE).exists():
        return  # a restart would only fail again
    # The number of threads decides the last bits of sums, so it is set here and not left to Ray.
    torch.set_num_threads(config["threads"])
    settings, device = config["settings"], ray.train.torch.get_device()
    settings.set_float32_precision(config["job"], device)
    worker = settings.worker(config["job"], device, context.get_world_rank(), context.get_world_size())
    try:
        check_shared(config["job"], launched)
        train(config["job"], run_dir, worker)
    except Exception as error:
        if worker.size > 1 and isinstance(error, RuntimeError) and not isinstance(error, UserError):
            raise  # so ends a worker that waits for one that died: Ray starts all of them again
        launched.mkdir(parents=True, exist_ok=True)
        (launched / FAILURE).write_text(json.dumps(describe_failure(error)))
        if worker.size > 1:
            raise  # the others wait for this worker: let Ray end them


def describe_failure(error: Exception) -> dict[str, Any]:
    """What crosses to the driver: class and sentence of a UserError; of a bug, whose kind is None, the traceback."""
    if isinstance(error, UserError):
        return {"kind": family_of(error), "message": str(error)}
    if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:  # of a library that wrote past our own checks
        return {"kind": StorageError.__name__, "message": f"the disk is full: {error}"}
    return {"kind": None, "message": "".join(traceback.format_exception(error))}


def rebuild_failure(failure: dict[str, Any]) -> Exception:
    """The error of describe_failure, in the driver."""
    if failure["kind"] is None:
        return RuntimeError(f"a worker failed:\n{failure['message']}")
    return FAMILY[failure["kind"]](failure["message"])


def check_shared(job: Job, launched: Path):
    """Raises ValueError if this machine does not see what the driver does."""
    missing = [
        str(p) for p in (launched, job.data, job.teacher, job.earlier, job.features) if p and not Path(p).exists()
    ]
    if missing:
        raise InvalidInput(f"a worker on {os.uname().nodename} cannot see {', '.join(missing)}: {SHARED}")


def _raise_failure(launched: Path):
    if (file := launched / FAILURE).exists():
        raise rebuild_failure(parse_json(file.read_text()))
