"""The training loop: one for the teacher and for every student.

Every random number is a function of (seed, step, place in the global batch), so a run that was killed and started again
ends in the same bits, and a run on two workers is the run on one up to rounding.
"""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fewstep.data.store import ArrayStore
from fewstep.diffusion.randomness import StepRandomness, derive_seed
from fewstep.losses.distances import build_distance
from fewstep.models.model import Model, build_function
from fewstep.objectives import Batch, Networks, Objective, Progress
from fewstep.support.errors import Divergence, InvalidInput
from fewstep.support.memory import keep_freed_memory, naming_lack_of_memory
from fewstep.training.batches import Batches
from fewstep.training.checkpoint import flatten, load_newest, newest_whole, part_of, save_checkpoint
from fewstep.training.ema import update_average
from fewstep.training.job import Job
from fewstep.training.lock import sole_training
from fewstep.training.optimizer import build_optimizer, load_optimizer_state, optimizer_state
from fewstep.training.progress import ProgressLog
from fewstep.training.start import check_same_job, start_from

M = TypeVar("M", bound=nn.Module)
LESS_MEMORY = (
    "Set a smaller training.micro_batch_size, which leaves the numbers of the batch as they are, or a smaller network: "
    "fewstep plan says what fits."
)


@dataclass(frozen=True)
class Worker:
    """One of `size` processes that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all workers, without gradient."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value


class Step(nn.Module):
    """The objective as one forward pass, which is what DistributedDataParallel wraps: {optimiser: losses [B]}."""

    def __init__(self, objective: Objective, networks: Networks):
        super().__init__()
        self.objective, self.networks = objective, networks
        self.trained = nn.ModuleDict({"student": networks.student, **networks.modules})

    def forward(self, batch: Batch, progress: Progress, rng: StepRandomness) -> dict[str, Tensor]:
        losses = self.objective(self.networks, batch, progress, rng)
        return losses if isinstance(losses, dict) else {"student": losses}


class Training:
    """A training of a job, at some step: everything that a checkpoint holds, and how to make the next step.

    The process keeps the memory that it frees from here on.
    """

    def __init__(self, job: Job, run_dir: Path, worker: Worker = Worker()):
        keep_freed_memory()
        self.job, self.run_dir, self.worker = job, run_dir, worker
        self.settings = job.recipe.training
        store = opened_data(job, whole=worker.rank == 0)
        self.space = store.space
        self.batches = Batches(store.images("train"), store.labels("train"), self.space, self.settings, job.recipe.seed)
        self.parts: list[Tensor] = []  # parts of the loss of a micro-batch, each followed by a level of its own
        self.networks = self._build_networks()
        # Samples, sheets and the finished model come from the average, which is less noisy than the student.
        self.average = frozen_copy(self.networks.student).eval()
        self.step_module = Step(self.objective, self.networks)
        self.settings_of = {
            name: replace(self.settings, **(self.objective.settings(name) if name != "student" else {}))
            for name in self.step_module.trained
        }
        self.optimizers = self._new_optimizers()
        self.forward: nn.Module = self.step_module
        if worker.size > 1:
            # Networks have no buffers that change in training, so there is nothing to broadcast.
            self.forward = DistributedDataParallel(
                self.step_module, broadcast_buffers=False, find_unused_parameters=self.objective.has_idle_modules
            )
        self.step, self.seconds = 0, 0.0
        self.other_numerics: list[dict[str, int]] = []  # of earlier steps, where somebody insisted
        self._resume()

    def _build_networks(self) -> Networks:
        recipe, self.objective = self.job.recipe, self.job.recipe.objective
        device = self.worker.device
        # Initial weights depend on the recipe's seed alone, not on what this process has drawn before.
        with torch.random.fork_rng([]):
            torch.manual_seed(derive_seed("weights", recipe.seed))
            student = build_function(self.job.spec, self.space).to(device)
            self.objective.check_student(student)
            modules = {name: m.to(device) for name, m in self.objective.modules(student, self.space.scale).items()}
        teacher = Model.load(self.job.teacher, device).function if self.job.teacher else None
        if recipe.start == "teacher":
            assert teacher is not None
            start_from(student.network, teacher.network, recipe.start_new)
        if not self.objective.needs_teacher:
            teacher = None  # it has given its weights
        has_target = self.objective.target_decay(self.progress_at(0)) is not None
        target = frozen_copy(student) if has_target else student
        distance = build_distance(self.objective.distance, self.space.scale).to(device)
        return Networks(student, target, teacher, distance, modules, self.worker.mean, self._remember)

    def _new_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        trained = self.step_module.trained.items()
        return {name: build_optimizer(module, self.settings_of[name]) for name, module in trained}

    def progress_at(self, step: int) -> Progress:
        size, steps = self.settings.batch_size, self.settings.steps
        return Progress(step, steps, step * size, steps * size)

    def _begin_stage(self):
        """The student becomes the teacher; the average and the optimisers begin anew."""
        weights = self.networks.student.state_dict()
        self.average.load_state_dict(weights)
        self._set_teacher(weights)
        self.optimizers = self._new_optimizers()

    def _set_teacher(self, weights: dict[str, Tensor]):
        """A former student in the teacher's place."""
        teacher = frozen_copy(self.average)
        teacher.load_state_dict(weights)
        self.networks = self.step_module.networks = replace(self.networks, teacher=teacher)

    def _student_teaches(self) -> bool:
        """Whether the teacher is a former student, needed for the next step."""
        progress = self.progress_at(self.step)
        return 0 < self.objective.stage(progress).step < progress.step

    def _remember(self, loss: Tensor, *levels: Tensor) -> Tensor:
        for level in levels:
            self.parts += [loss.detach().float(), level.detach().float()]
        return loss

    def make_step(self) -> dict[str, float]:
        """One optimiser step. Returns its loss and gradient norm, averaged over workers.

        Raises Divergence, before any weight has changed, if they are not finite.
        """
        progress, settings = self.progress_at(self.step), self.settings
        stage = self.objective.stage(progress)
        if stage.step == 0 and progress.step > 0:
            self._begin_stage()
        loss = self._accumulate_gradients(progress)
        # Each optimiser has its own norm: gradients of an adversarial network must not shrink those of the student.
        norms = {}
        for name, module in self.step_module.trained.items():
            norms[name] = nn.utils.clip_grad_norm_(module.parameters(), settings.clip or math.inf, foreach=True)
        if not all(torch.isfinite(n) for n in (loss, *norms.values())):
            raise Divergence(
                f"{self.job.name} diverged at step {self.step} ({progress.images} images): loss {float(loss):g}, "
                f"gradient norm {float(norms['student']):g}, at {self._blamed_levels()}. "
                f"{self._kept()} Try a lower learning_rate (now {settings.learning_rate:g}) or precision fp32."
            )
        rates = {
            name: numbers.learning_rate_at(stage.images, stage.total_images)
            for name, numbers in self.settings_of.items()
        }
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates[name]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_averages(progress, stage)
        return {"loss": float(loss), "grad_norm": float(norms["student"]), "learning_rate": rates["student"]}

    def _accumulate_gradients(self, progress: Progress) -> Tensor:
        """The mean loss over the global batch; its gradient is in the parameters."""
        settings, worker = self.settings, self.worker
        micro_batches = settings.micro_batches(worker.size, self.objective.needs_whole_batch)
        share = settings.batch_size // worker.size
        size, seen = share // micro_batches, []
        total = torch.zeros((), device=worker.device)
        for micro in range(micro_batches):
            first = (worker.rank * micro_batches + micro) * size
            rows = slice(first, first + size)
            rng = StepRandomness(self.job.recipe.seed, self.step, settings.batch_size, rows, worker.device)
            batch = self.batches(self.step, rows, worker.device)
            self.parts.clear()  # the objective fills it again through Networks.at_levels
            with self._gradients_kept_here() if micro < micro_batches - 1 else nullcontext():
                with torch.autocast(worker.device.type, torch.bfloat16, enabled=self._uses_bf16()):
                    losses = self.forward(batch, progress, rng)
                # The mean is taken in float32, because a sum over a batch loses digits in bf16.
                loss = reduce(torch.add, (part.float().mean() for part in losses.values())) / micro_batches
                loss.backward()
            seen.append(torch.stack([reduce(torch.add, losses.values()).detach().float(), *self.parts]))
            total += losses["student"].detach().float().mean() / micro_batches
        # Only a divergence needs this, on every worker: rows of other workers stay 0 until they are summed up.
        self.seen = torch.zeros(len(seen[0]), settings.batch_size, device=worker.device)
        self.seen[:, worker.rank * share : (worker.rank + 1) * share] = torch.cat(seen, dim=1)
        return worker.mean(total)

    def _gradients_kept_here(self) -> AbstractContextManager[None]:
        """Workers exchange gradients once a step: after the last micro-batch, and after none before it."""
        return self.forward.no_sync() if isinstance(self.forward, DistributedDataParallel) else nullcontext()

    def _uses_bf16(self) -> bool:
        gpu_has_it = self.worker.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return self.settings.precision == "bf16" or (self.settings.precision == "auto" and gpu_has_it)

    def _update_averages(self, progress: Progress, stage: Progress):
        student, target = self.networks.student, self.networks.target
        if (decay := self.objective.target_decay(progress)) is not None:
            update_average(target, student, decay)
        update_average(self.average, student, self.settings.ema_decay_at(stage.images + self.settings.batch_size))

    def _blamed_levels(self) -> str:
        """Of the first sample that has parts of the loss which are not finite: of these parts.

        A range, where this is so for no sample or for all. A weight of the whole batch spoils every loss, so that the
        parts are asked first.
        """
        seen = self.worker.mean(self.seen) * self.worker.size  # each worker has its own rows, the others are 0
        bad, levels = ~seen[1::2].isfinite(), seen[2::2]
        samples = bad.any(0) if bad.any() else ~seen[0].isfinite()
        if samples.all() or not samples.any():
            levels = levels[bad.any(1)] if bad.any() else levels
            return f"levels {levels.min().item():g} to {levels.max().item():g}"
        bad, levels = bad[:, samples][:, 0], levels[:, samples][:, 0]
        found = dict.fromkeys(f"{level:g}" for level in (levels[bad] if bad.any() else levels).tolist())
        return f"level{'s' * (len(found) > 1)} {', '.join(found)}"

    def _kept(self) -> str:
        kept = newest_whole(self.run_dir / "checkpoints")
        return f"The last good checkpoint stays ({kept.name})." if kept else "There was no checkpoint yet."

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        others = {"target": self.networks.target} if self.networks.target is not self.networks.student else {}
        if self._student_teaches():
            assert self.networks.teacher is not None
            others["teacher"] = self.networks.teacher
        tensors = flatten(average=self.average, **others, **self.step_module.trained)
        for name, optimizer in self.optimizers.items():
            state = optimizer_state(optimizer, self.step_module.trained[name])
            tensors |= {f"optimizer.{name}/{key}": value for key, value in state.items()}
        return tensors

    def save(self):
        """A checkpoint of this step."""
        facts = {"job": self.job.description, "seconds": self.seconds, "written_by": self.job.author}
        facts["other_numerics"] = self.other_numerics
        save_checkpoint(self.run_dir / "checkpoints", self.step, self.state(), facts)

    def _resume(self):
        found = load_newest(self.run_dir / "checkpoints")
        if found is None:
            return
        tensors, facts = found
        check_same_job(facts["job"], self.job.description, self.run_dir, self.job.other_numerics)
        self.other_numerics = facts.get("other_numerics", [])
        if (before := facts["job"]["numerics"]) != self.job.numerics:
            self.other_numerics += [{"until_step": facts["step"], **before}]
        self.average.load_state_dict(part_of(tensors, "average"))
        if self.networks.target is not self.networks.student:
            self.networks.target.load_state_dict(part_of(tensors, "target"))
        for name, module in self.step_module.trained.items():
            module.load_state_dict(part_of(tensors, name))
            load_optimizer_state(self.optimizers[name], module, part_of(tensors, f"optimizer.{name}"))
        self.step, self.seconds = facts["step"], facts["seconds"]
        if self._student_teaches():
            self._set_teacher(part_of(tensors, "teacher"))

    def model(self) -> Model:
        """The averaged student as it is now."""
        provenance = self.job.provenance
        more = {**provenance.more, "workers": self.worker.size, "threads": torch.get_num_threads()}
        if self.other_numerics:
            more["other_numerics"] = self.other_numerics
        provenance = replace(
            provenance,
            more=more,
            images=self.step * self.settings.batch_size,
            seconds=round(self.seconds, 1),
            parameters=sum(p.numel() for p in self.average.parameters()),
        )
        return Model(self.average, self.space, replace(self.job.spec, provenance=provenance))


def opened_data(job: Job, whole: bool) -> ArrayStore:
    """The images of a job. Raises ValueError if they are not those that it was made for. whole: check the content."""
    store = ArrayStore.open(job.data)
    if store.sha256 != job.data_sha256:
        raise InvalidInput(f"the data in {job.data} were replaced since the training of {job.name} was asked for.")
    if whole:
        store.verify()
    return store


def frozen_copy(module: M) -> M:
    """A copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


def train(job: Job, run_dir: Path, worker: Worker = Worker()) -> Path:
    """Train a job to its end, from the newest checkpoint in run_dir if any. Returns the finished model's folder.

    Raises Divergence if the loss is not finite, OutOfMemory if it does not fit the device, ValueError if the checkpoint
    is of another job or if another process trains in run_dir.
    """
    finished = run_dir / "model"
    with sole_training(run_dir) if worker.rank == 0 else nullcontext():
        if worker.size > 1:
            dist.barrier()  # nobody reads checkpoints that an orphan may still write
        if not finished.exists():
            with naming_lack_of_memory(_at_once(job, worker), LESS_MEMORY):
                _train_to_the_end(job, run_dir, worker)
        if worker.size > 1:
            dist.barrier()
    return finished


def _at_once(job: Job, worker: Worker) -> str:
    """What a worker needs memory for, in words."""
    settings = job.recipe.training
    return f"{job.name} with {settings.micro_batch_size or settings.batch_size // worker.size} samples at once"


def _train_to_the_end(job: Job, run_dir: Path, worker: Worker):
    training = Training(job, run_dir, worker)
    settings, log = training.settings, ProgressLog(run_dir)
    leads, lasts = worker.rank == 0, training.settings.steps
    started, first = time.perf_counter(), training.step
    before = training.seconds

    # In images, not steps: batch sizes need not divide the interval, and the last step always counts.
    def crossed(every: int) -> bool:
        images = training.step * settings.batch_size
        return images % every < settings.batch_size or training.step == lasts

    # Workers other than the first only train. What is written is the same for all of them.
    while training.step < lasts:
        facts = training.make_step()
        images, elapsed = training.step * settings.batch_size, time.perf_counter() - started
        training.seconds = before + elapsed
        if leads and crossed(settings.progress_every):
            speed = (training.step - first) * settings.batch_size / elapsed
            log.write(
                step=training.step,
                images=images,
                total_images=lasts * settings.batch_size,
                seconds=round(training.seconds, 2),
                images_per_second=round(speed, 1) if speed >= 1 else float(f"{speed:.2g}"),
                **facts,
            )
        if leads and crossed(settings.pictures_every):
            for nfe in job.recipe.picture_nfe:
                log.picture(f"samples_nfe{nfe}", images, training.model().sample(nfe, seed=0, indices=range(64)))
        if leads and (crossed(settings.checkpoint_every)):
            training.save()
    if leads:
        training.model().save(run_dir / "model")
