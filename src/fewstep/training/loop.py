"""The training loop: one for the teacher and for every student.

Every random number is a function of (seed, step, place in the global batch), so a run that was killed and started again
ends in the same bits, and a run on two workers is the run on one up to rounding.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.nn.parallel import DistributedDataParallel

from fewstep.data.examples import Examples
from fewstep.data.latent_store import open_examples
from fewstep.diffusion.randomness import StepRandomness, derive_seed
from fewstep.losses.distances import build_distance
from fewstep.models.model import Model, build_function
from fewstep.networks.compiled import compile_passes, compiler_works
from fewstep.networks.conditioned_block import recompute_activations
from fewstep.networks.magnitude import Forced
from fewstep.networks.sharding import own_rows, shard, whole_tensors
from fewstep.objectives import Batch, Networks, Objective, Progress
from fewstep.preconditioning import Preconditioner
from fewstep.support.errors import Divergence, InvalidInput
from fewstep.support.memory import keep_freed_memory, naming_lack_of_memory
from fewstep.training.batches import Batches
from fewstep.training.checkpoint import Checkpoints, load_newest, newest_whole, part_of
from fewstep.training.ema import Average, frozen_copy, step_unless
from fewstep.training.job import Job
from fewstep.training.lock import sole_training
from fewstep.training.optimizer import build_optimizer, load_optimizer_state, optimizer_state
from fewstep.training.progress import ProgressLog
from fewstep.training.scoring import ScoreHistory, TrainingScores
from fewstep.training.shares import average_whole_gradients, check_same_passes, gradient_norm
from fewstep.training.snapshots import KeptAverages
from fewstep.training.soundness import Soundness, blamed_levels
from fewstep.training.start import check_same_job, start_from
from fewstep.training.watching import Lost, Watch

PHASES = ("data", "forward", "backward", "optimiser", "averages")  # of a step, by which profilers know them
LESS_MEMORY = (
    "Set a smaller training.micro_batch_size, which leaves the numbers of the batch as they are, or "
    "launch.checkpoint_activations=true, which leaves all of them, or a smaller network: fewstep plan says what fits."
)


@dataclass(frozen=True)
class Worker:
    """One of `size` processes that train together.

    compiled: they compile their networks, where they can. recomputes: the networks' activations are computed again for
    the backward pass instead of being kept. shards: each holds a share of the weights, averages and optimisers alone,
    and activations are computed again, together with the weights that they were made with.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compiled: bool = False
    recomputes: bool = False
    shards: bool = False

    @property
    def leads(self) -> bool:
        """It writes what is written."""
        return self.rank == 0

    def of_first(self, value: Tensor) -> Tensor:
        """A tensor of the first worker, on all."""
        if self.size > 1:
            dist.broadcast(value, 0)
        return value

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
        rows, ahead = (store.rows("train"), store.labels("train")), worker.device.type != "cpu"
        self.batches = Batches(*rows, self.space, self.settings, job.recipe.seed, ahead)
        self.parts: list[Tensor] = []  # parts of the loss of a micro-batch, each followed by a level of its own
        self.sharded = worker.shards and worker.size > 1
        self.compiled = worker.compiled and not self.sharded and compiler_works(worker.device.type)
        self.networks = self._ready(self._build_networks())
        # Samples, sheets and the finished model come from the average, which is less noisy than the student.
        self.average = frozen_copy(self.networks.student).eval()
        self.step_module = Step(self.objective, self.networks)
        self.settings_of = {
            name: replace(self.settings, **(self.objective.settings(name) if name != "student" else {}))
            for name in self.step_module.trained
        }
        self.forced = [layer for layer in self.step_module.trained.modules() if isinstance(layer, Forced)]
        self.optimizers = self._new_optimizers()
        self.averages = Average(self.average), Average(self.networks.target)
        self.kept = KeptAverages(self.networks.student, self.settings.averages, run_dir)
        self.forward: nn.Module = self.step_module
        if self.sharded:
            share = self.settings.batch_size // worker.size
            check_same_passes(self.objective, self.settings.micro_batch_size or share)
        elif worker.size > 1:
            # Networks have no buffers that change in training, so there is nothing to broadcast.
            self.forward = DistributedDataParallel(
                self.step_module,
                broadcast_buffers=False,
                find_unused_parameters=self.objective.has_idle_modules,
                gradient_as_bucket_view=True,
            )
        self.step, self.seconds, self.lost = 0, 0.0, Lost()
        self.scored = ScoreHistory()
        self.checkpoints = Checkpoints(run_dir / "checkpoints")
        self.soundness = Soundness(worker.device)
        self.other_numerics: list[dict[str, int]] = []  # of earlier steps, where somebody insisted
        self._resume()

    def _build_networks(self) -> Networks:
        recipe, self.objective = self.job.recipe, self.job.recipe.objective
        device = self.worker.device
        at_first = torch.device("cpu") if self.sharded else device  # whole networks need not fit on a device
        # Initial weights depend on the recipe's seed alone, not on what this process has drawn before.
        with torch.random.fork_rng([]):
            torch.manual_seed(derive_seed("weights", recipe.seed))
            student = build_function(self.job.spec, self.space).to(at_first)
            recipe.check_student(student)
            modules = {name: m.to(at_first) for name, m in self.objective.modules(student, self.space.scale).items()}
        teacher, earlier = (
            Model.load(folder, at_first).function if folder else None for folder in (self.job.teacher, self.job.earlier)
        )
        if begins_at := {"teacher": teacher, "earlier": earlier}.get(recipe.start):
            start_from(student.network, begins_at.network, recipe.start_new)
        distance = build_distance(self.objective.distance, self.space.scale).to(device)
        self.objective.begin(Networks(student, student, teacher, distance, modules))
        # What has only given its weights is let go.
        teacher = teacher if self.objective.needs_teacher else None
        earlier = earlier if self.objective.needs_earlier else None
        for function in (student, teacher, earlier, *modules.values()) if self.sharded else ():
            if isinstance(function, Preconditioner):
                shard(function, function.network.last_layer)
            if function is not None:
                function.to(device)
        has_target = self.objective.target_decay(self.progress_at(0)) is not None
        target = frozen_copy(student) if has_target else student
        return Networks(student, target, teacher, distance, modules, self.worker.mean, self._remember, earlier)

    def _ready(self, networks: Networks) -> Networks:
        """The same networks, compiled and with activations that are computed again, if either is asked for."""
        functions = (networks.student, networks.target, networks.teacher, networks.earlier, *networks.modules.values())
        for network in [function.network for function in functions if isinstance(function, Preconditioner)]:
            if self.worker.recomputes or self.sharded:
                recompute_activations(network)
            if self.compiled and not network.is_compiled:
                compile_passes(network)
        return networks

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
        self.networks = self.step_module.networks = self._ready(replace(self.networks, teacher=teacher))

    def _student_teaches(self) -> bool:
        """Whether the teacher is a former student, needed for the next step."""
        progress = self.progress_at(self.step)
        return 0 < self.objective.stage(progress).step < progress.step

    def _remember(self, loss: Tensor, *levels: Tensor) -> Tensor:
        for level in levels:
            self.parts += [loss.detach().float(), level.detach().float()]
        return loss

    def make_step(self) -> None:
        """One optimiser step, which reads nothing back from the device.

        Once a loss or a gradient is not finite, no weight changes any more, and `report` raises Divergence.
        """
        progress = self.progress_at(self.step)
        stage = self.objective.stage(progress)
        if stage.step == 0 and progress.step > 0:
            self._begin_stage()
        loss, seen = self._accumulate_gradients(progress)
        with record_function("optimiser"):
            norms = {name: self._clipped_norm(module) for name, module in self.step_module.trained.items()}
            self.soundness.note(self.step, loss, norms, seen)
            for name, optimizer in self.optimizers.items():
                step_unless(self.soundness.broken, optimizer, self._rate(name, stage))
        self.step += 1
        with record_function("averages"):  # of the weights as the optimiser leaves them: Karras et al. 2024's code
            self._update_averages(progress, stage)
        for layer in self.forced:
            layer.after_step(self.soundness.broken)

    def _clipped_norm(self, module: nn.Module) -> Tensor:
        """The norm of a module's gradient before it was clipped. Each optimiser has a norm of its own: gradients of an
        adversarial network must not shrink the student's.
        """
        norm = gradient_norm(module, self.sharded).to(self.worker.device)  # on the CPU for a module without gradients
        if self.settings.clip:
            nn.utils.clip_grads_with_norm_(module.parameters(), self.settings.clip, norm, foreach=True)
        return norm

    def _rate(self, module: str, stage: Progress) -> float:
        return self.settings_of[module].learning_rate_at(stage.images, stage.total_images)

    def report(self) -> dict[str, float]:
        """Loss, gradient norm and learning rate of the last step, read from the device.

        Raises Divergence, on every worker, if the numbers of a step were not finite: weights are as before that step.
        """
        loss, norm = self.soundness.numbers.tolist()
        if self.soundness.broken:
            raise Divergence(self._what_diverged(loss, norm))
        last = self.objective.stage(self.progress_at(self.step - 1))
        return {"loss": loss, "grad_norm": norm, "learning_rate": self._rate("student", last)}

    def _what_diverged(self, loss: float, norm: float) -> str:
        settings, step = self.settings, int(self.soundness.step)
        # Each worker has filled in its own rows, the others are 0.
        seen = self.worker.mean(self.soundness.seen) * self.worker.size
        return (
            f"{self.job.name} diverged at step {step} ({self.progress_at(step).images} images): loss {loss:g}, "
            f"gradient norm {norm:g}, at {blamed_levels(seen)}. "
            f"{self._kept()} Try a lower learning_rate (now {settings.learning_rate:g}) or precision fp32."
        )

    def _accumulate_gradients(self, progress: Progress) -> tuple[Tensor, Tensor]:
        """The mean loss over the global batch, whose gradient is in the parameters; and what this worker saw, [1 + 2
        parts, batch]: the loss of each sample, then each part of it and its level. Other workers' rows are 0.
        """
        settings, worker = self.settings, self.worker
        micro_batches = settings.micro_batches(worker.size, self.objective.needs_whole_batch, self.objective.group)
        share = settings.batch_size // worker.size
        size, seen = share // micro_batches, []
        total = torch.zeros((), device=worker.device)
        for micro in range(micro_batches):
            first = (worker.rank * micro_batches + micro) * size
            rows = slice(first, first + size)
            rng = StepRandomness(self.job.recipe.seed, self.step, settings.batch_size, rows, worker.device)
            with record_function("data"), self.lost.to("data"):
                batch = self.batches(self.step, rows, worker.device)
            self.parts.clear()  # the objective fills it again through Networks.at_levels
            with self._gradients_kept_here() if micro < micro_batches - 1 else nullcontext():
                bf16 = torch.autocast(worker.device.type, torch.bfloat16, enabled=self._uses_bf16())
                with record_function("forward"), bf16:
                    losses = self.forward(batch, progress, rng)
                # The mean is taken in float32, because a sum over a batch loses digits in bf16.
                loss = reduce(torch.add, (part.float().mean() for part in losses.values())) / micro_batches
                with record_function("backward"):
                    loss.backward()
                    if self.sharded and micro == micro_batches - 1:
                        average_whole_gradients(self.step_module.trained)
            seen.append(torch.stack([reduce(torch.add, losses.values()).detach().float(), *self.parts]))
            total += losses["student"].detach().float().mean() / micro_batches
        rows = torch.zeros(len(seen[0]), settings.batch_size, device=worker.device)
        rows[:, worker.rank * share : (worker.rank + 1) * share] = torch.cat(seen, dim=1)
        return worker.mean(total), rows

    def _gradients_kept_here(self) -> AbstractContextManager[None]:
        """Workers exchange gradients once a step: after the last micro-batch, and after none before it."""
        return self.forward.no_sync() if isinstance(self.forward, DistributedDataParallel) else nullcontext()

    def _uses_bf16(self) -> bool:
        gpu_has_it = self.worker.device.type == "cuda" and torch.cuda.is_bf16_supported()
        fits = gpu_has_it and self.objective.bears_bf16
        return self.settings.precision == "bf16" or (self.settings.precision == "auto" and fits)

    def _update_averages(self, progress: Progress, stage: Progress):
        student, skip, (average, target) = self.networks.student, self.soundness.broken, self.averages
        if (decay := self.objective.target_decay(progress)) is not None:
            target.update(student, decay, skip)
        average.update(student, self.settings.ema_decay_at(stage.images + self.settings.batch_size), skip)
        self.kept.update(student, stage.images + self.settings.batch_size, self.settings.batch_size, skip)

    def _kept(self) -> str:
        self.checkpoints.wait()
        kept = newest_whole(self.checkpoints.folder)
        return f"The last good checkpoint stays ({kept.name})." if kept else "There was no checkpoint yet."

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        others = {"target": self.networks.target} if self.networks.target is not self.networks.student else {}
        if self._student_teaches():
            assert self.networks.teacher is not None
            others["teacher"] = self.networks.teacher
        modules = {"average": self.average, **others, **self.kept.modules, **self.step_module.trained}
        parts = [(name, module, module.state_dict()) for name, module in modules.items()]
        for name, optimizer in self.optimizers.items():
            module = self.step_module.trained[name]
            parts.append((f"optimizer.{name}", module, optimizer_state(optimizer, module)))
        return {f"{name}/{key}": t for name, module, its in parts for key, t in whole_tensors(its, module).items()}

    def save(self):
        """A checkpoint of this step, on the disk."""
        self.begin_to_save()
        self.checkpoints.wait()

    def begin_to_save(self):
        """A checkpoint of this step, which is written while the next ones are made. If the training is sharded, all
        workers call this, and the first one writes; the same holds for averages and the model.
        """
        facts = {"job": self.job.description, "seconds": self.seconds, "written_by": self.job.author}
        facts |= {"other_numerics": self.other_numerics, "scores": self.scored.to_json()}
        # Snapshots first: a training that is taken up from this checkpoint does not write those of before again.
        self.kept.snapshots.wait()
        state = self.state()
        if self.worker.leads:
            self.checkpoints.save(self.step, state, facts, spared=self.scored.best)

    def begin_to_save_averages(self):
        """A snapshot of the averages that are kept, for any other one after the training."""
        progress = self.progress_at(self.step - 1)
        began = progress.images - self.objective.stage(progress).images
        images = progress.images + self.settings.batch_size - began
        facts, weights = {"job": self.job.description, "began": began, "images": images}, self.kept.weights()
        if self.worker.leads:
            self.kept.save(self.step, weights, facts)

    def _resume(self):
        found = load_newest(self.checkpoints.folder)
        if found is None:
            return
        tensors, facts = found
        check_same_job(facts["job"], self.job.description, self.run_dir, self.job.other_numerics)
        self.other_numerics = facts.get("other_numerics", [])
        if (before := facts["job"]["numerics"]) != self.job.numerics:
            self.other_numerics += [{"until_step": facts["step"], **before}]
        for name, module in {"average": self.average, **self.kept.modules}.items():
            module.load_state_dict(own_rows(part_of(tensors, name), module))
        if self.networks.target is not self.networks.student:
            self.networks.target.load_state_dict(own_rows(part_of(tensors, "target"), self.average))
        for name, module in self.step_module.trained.items():
            module.load_state_dict(own_rows(part_of(tensors, name), module))
            moments = own_rows(part_of(tensors, f"optimizer.{name}"), module)
            load_optimizer_state(self.optimizers[name], module, moments)
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.scored = ScoreHistory.from_json(facts.get("scores", []))
        if self._student_teaches():
            self._set_teacher(own_rows(part_of(tensors, "teacher"), self.average))

    def model(self) -> Model:
        """The averaged student as it is now."""
        provenance, function = self.job.provenance, self._whole_average()
        more = {**provenance.more, "workers": self.worker.size, "threads": torch.get_num_threads()}
        more["compiled"] = self.compiled
        if self.worker.device.type == "cuda":
            more["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        if self.other_numerics:
            more["other_numerics"] = self.other_numerics
        provenance = replace(
            provenance,
            more=more,
            images=self.step * self.settings.batch_size,
            seconds=round(self.seconds, 1),
            parameters=sum(p.numel() for p in function.parameters()),
        )
        space = replace(self.space)  # an autoencoder's weights are read for this model, and let go with it
        return Model(function, space, replace(self.job.spec, provenance=provenance))

    def _whole_average(self) -> Preconditioner:
        weights = whole_tensors(self.average.state_dict(), self.average)
        if not (self.sharded and self.worker.leads):
            return self.average
        function = build_function(self.job.spec, self.space)
        function.load_state_dict(weights)
        return function.to(self.worker.device).eval().requires_grad_(False)


def opened_data(job: Job, whole: bool) -> Examples:
    """The images of a job. Raises ValueError if they are not those that it was made for. whole: check the content."""
    store = open_examples(job.data)
    if store.hashes != (job.data_sha256, job.latents_sha256):
        raise InvalidInput(f"the data in {job.data} were replaced since the training of {job.name} was asked for.")
    if whole:
        store.verify()
    return store


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
    settings, log, watch, scores = training.settings, ProgressLog(run_dir), Watch(training), TrainingScores(training)
    leads, lasts = worker.leads, settings.steps
    started, first, before = time.perf_counter(), training.step, training.seconds
    intervals = {name: getattr(settings, f"{name}_every") for name in ("progress", "pictures", "checkpoint")}
    if settings.averages:
        intervals["averages"] = lasts * settings.batch_size / settings.snapshots
    if settings.scores_every:
        intervals["scores"] = settings.scores_every

    # In images, not steps: batch sizes need not divide the interval, and the last step always counts.
    def crossed(every: float) -> bool:
        images = training.step * settings.batch_size
        return images % every < settings.batch_size or training.step == lasts

    # Workers other than the first only train, or give their share of what is written, which is the same for all.
    shares = leads or training.sharded
    with training.checkpoints, training.kept.snapshots:
        while training.step < lasts and not scores.have_ended:
            training.make_step()
            due = {name: crossed(every) for name, every in intervals.items()}
            if not any(due.values()):
                continue
            facts = training.report()
            images, elapsed = training.step * settings.batch_size, time.perf_counter() - started
            training.seconds = before + elapsed
            facts |= scores.measure() if due.get("scores") else {}
            if leads and (due["progress"] or due.get("scores")):
                speed = (training.step - first) * settings.batch_size / elapsed
                log.write(
                    step=training.step,
                    images=images,
                    total_images=lasts * settings.batch_size,
                    seconds=round(training.seconds, 2),
                    images_per_second=round(speed, 1) if speed >= 1 else float(f"{speed:.2g}"),
                    **facts,
                    **watch.facts(speed, elapsed),
                )
            if shares and due["pictures"]:
                with training.lost.to("pictures"):
                    model = training.model()
                    for nfe in job.recipe.picture_nfe if leads else ():
                        log.picture(f"samples_nfe{nfe}", images, model.sample(64, nfe))
            if shares and due.get("averages"):
                with training.lost.to("checkpoints"):
                    training.begin_to_save_averages()
            if shares and (due["checkpoint"] or scores.are_best):
                with training.lost.to("checkpoints"):
                    training.begin_to_save()
    if shares:
        model = scores.result()
        if leads:
            model.save(run_dir / "model")
