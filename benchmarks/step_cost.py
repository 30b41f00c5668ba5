"""What a training step of each method costs, in forward passes of the bare network, and what it keeps in memory.

    python benchmarks/step_cost.py [--quick] [--rounds 15] [--threads 1] [--only CTM "guided denoiser"]

Everything that is compared is timed in turn within each round; a ratio is taken within its round, and the median over
rounds is printed. The bare step is losses and backward; clipping, optimiser and average are apart. The status is 1
where a figure is beyond its bound.
"""

import argparse
import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path

import torch
from bounds import Bounds
from memory import peak_bytes
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fewstep.data import ArrayStore, ingest
from fewstep.diffusion.guidance import guided
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.models.model import Model, SavedModel, build_function
from fewstep.models.spec import ModelSpec
from fewstep.networks import build_network
from fewstep.networks.dual import jvp
from fewstep.networks.magnitude import Forced
from fewstep.networks.released import from_published
from fewstep.objectives import Batch, Networks, Progress, build_objective
from fewstep.preconditioning import build_preconditioner, total_derivative
from fewstep.support.memory import keep_freed_memory
from fewstep.training.ema import Average
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.job import Job
from fewstep.training.loop import Training
from fewstep.training.optimizer import build_optimizer
from fewstep.training.recipe import Recipe

CD = {"name": "consistency_distillation"}
FACM = {"name": "flow_anchored_consistency"}
CONTINUOUS = {
    "sCT": ({"name": "continuous_consistency", "from_data": True}, 4.6),
    "sCD": ({"name": "continuous_consistency"}, 5.6),
    "FACM, data's velocity": (FACM | {"from_data": True}, 7.8),
    "FACM": (FACM, 8.8),
}
MEAN_FLOW = {"name": "mean_flow", "flow_share": 0.0}
CONTINUOUS |= {
    "MeanFlow, data's velocity": (MEAN_FLOW | {"from_data": True}, 4.6),
    "MeanFlow": (MEAN_FLOW, 5.6),
}
FROM_TEACHER = ("ECT", "CD Euler", "CD Heun", "PD", "CTM", "sCD", "FACM", "MeanFlow")
METHODS = {  # and the most that a step should cost
    "EDM": ({"name": "denoising"}, 3.3),
    "CT": ({"name": "consistency_training"}, 4.3),
    "iCT": ({"name": "improved_consistency_training"}, 4.3),
    "ECT": ({"name": "easy_consistency_tuning"}, 4.3),
    "CD Euler": (CD | {"solver": "euler"}, 5.3),
    "CD Heun": (CD | {"solver": "heun"}, 6.3),
    "PD": ({"name": "progressive_distillation"}, 5.3),
    "CTM": ({"name": "consistency_trajectory", "solver_steps": 1}, 13.2),
    **CONTINUOUS,
    "SoFlow": ({"name": "solution_flow"}, 4.2),
    "SoFlow, 3/4 of the rows flow": ({"name": "solution_flow", "flow_share": 0.75}, 3.42),
    "Shortcut": ({"name": "shortcut"}, 3.68),
    "LSD": ({"name": "lagrangian_self_distillation"}, 4.2),
}
COUNTED = {"EDM": 3, "CT": 4, "iCT": 4, "ECT": 4, "CD Euler": 5, "CD Heun": 6, "PD": 5, "guided denoiser": 2}
# teacher 2 (Heun), target 2, student 3, the target after the student 2 (its weights want no gradient), score 3
COUNTED |= {"CTM": 12}
# the student 3 and its derivative 1, the teacher 1
COUNTED |= {"sCT": 4, "sCD": 5, "MeanFlow, data's velocity": 4, "MeanFlow": 5}
# the student 3, the map's other jump 1, or two of the target; in the rows that are not flow matching
COUNTED |= {"SoFlow": 4, "SoFlow, 3/4 of the rows flow": 3.25, "Shortcut": 3.5}
COUNTED |= {"LSD": 3.5}  # the derivative and the velocity at the end of the jump, in a quarter of the rows
SMALLER = 1.15  # what the dual pass may cost more at the digits' size
IN_PARTS = ("SoFlow, 3/4 of the rows flow", "Shortcut", "LSD")  # shares of the rows in passes of their own
SMALL_PASSES = 1.5  # what these may cost more at the digits' size, where a small pass takes as long as a whole one
GENERIC, BF16, UPDATE = 1.5, 1.2, 2.5  # times faster, at least: dual layers, bf16 of 64 channels, the update of weights
SHALLOW = {"name": "unet", "num_blocks": 1, "middle_attention": False, "second_time": True}  # which CTM needs
DIGITS = {**SHALLOW, "channels": 24, "channel_mult": [1, 2]}
LARGER = {**SHALLOW, "channels": 64, "channel_mult": [1, 1]}
NETWORKS = {"digits, 8x8, batch 64": (DIGITS, (1, 8, 8), 64), "64 channels, 32x32, batch 16": (LARGER, (3, 32, 32), 16)}
EDM2 = {"name": "edm2", "num_blocks": 1, "middle_attention": False, "second_time": True}
EDM2_LARGER = (EDM2 | {"channels": 64, "channel_mult": [1, 1], "attn_resolutions": [16]}, (3, 32, 32), 16)
OTHERS = {  # networks of which a few methods are timed
    "EDM2, digits, batch 64": (EDM2 | {"channels": 24, "channel_mult": [1, 2]}, (1, 8, 8), 64),
    "EDM2, 64 channels, attention at 16, batch 16": EDM2_LARGER,
}
FEW, FORCED = ["EDM", "ECT", "sCD"], 0.03  # their methods; the share of a step that forced normalisation may take
EDM2_CIFAR10 = (
    {"name": "edm2", "channels": 128, "channel_mult": [1, 2, 3], "num_blocks": 3, "attn_resolutions": [16]},
    (3, 32, 32),
    16,
)
ATTENDING = (LARGER | {"attn_resolutions": [16]}, (3, 32, 32), 16)
DUALS = {  # and the most that a dual forward pass should cost
    "digits, 8x8, batch 64": (*NETWORKS["digits, 8x8, batch 64"], 2.47),
    "64 channels, attention at 16, batch 16": (*ATTENDING, 2.15),
    "EDM2, 64 channels, attention at 16, batch 16": (*EDM2_LARGER, 2.2),
}
DDPMPP = {"img_resolution": 32, "in_channels": 3, "out_channels": 3, "channel_mult": [2, 2, 2], "dropout": 0.13}


def medians(rounds: int, timed: dict[str, Callable[[], object]], unit: str) -> dict[str, float]:
    """The time of each, in units of the one named `unit`: within each round, then the median, and its seconds."""
    ratios: dict[str, list[float]] = {name: [] for name in [*timed, "seconds"]}
    for turn in range(rounds + 1):
        seconds = {}
        for name, work in timed.items():
            started = time.perf_counter()
            work()
            seconds[name] = time.perf_counter() - started
        if turn:  # the first one warms up
            for name in timed:
                ratios[name].append(seconds[name] / seconds[unit])
            ratios["seconds"].append(seconds[unit])
    return {name: statistics.median(values) for name, values in ratios.items()}


def step_of(spec: dict, network: nn.Module, shape: tuple, size: int) -> Callable[[], torch.Tensor]:
    """The losses of a method's step on noise, in the middle of a training."""
    objective, progress = build_objective(spec), Progress(500, 1000, 500 * size, 1000 * size)
    student = build_preconditioner({"name": objective.preconditioner}, network).train()
    has_target = objective.target_decay(progress) is not None
    target = copy.deepcopy(student).requires_grad_(False) if has_target else student
    teacher = build_preconditioner({"name": "edm"}, copy.deepcopy(network)).eval().requires_grad_(False)
    networks = Networks(student, target, teacher, build_distance(objective.distance), objective.modules(student, 1.0))
    batch = Batch(0.5 * torch.randn(size, *shape))

    def losses() -> torch.Tensor:
        return objective(networks, batch, progress, StepRandomness(0, 500, size, slice(0, size)))

    return losses


def step_costs(rounds: int, spec: dict, shape: tuple, size: int, only: list[str] | None = None) -> dict[str, float]:
    """Of each method's bare step, and of what follows it, in forward passes. only: of these rows."""
    network = build_network(spec, shape).train()
    averaged = Average(copy.deepcopy(network).requires_grad_(False))
    optimizer = build_optimizer(network, TrainingSettings(optimizer="radam", learning_rate=1e-6))
    x, c_noise = torch.randn(size, *shape), torch.randn(size)
    steps = {name: step_of(method, network, shape, size) for name, (method, _) in METHODS.items()}

    @torch.no_grad()
    def forward():
        network(x, c_noise)

    def backward(name: str):
        network.zero_grad(set_to_none=True)
        steps[name]().mean().backward()

    def generic():
        with by_generic_jvp():
            backward("sCT")

    timed: dict[str, Callable[[], object]] = {"forward": forward}
    timed |= {name: lambda name=name: backward(name) for name in steps}
    timed |= {
        "sCT, torch.func.jvp": generic,
        "guided denoiser": guidance_of(spec, shape, size),
        "clipping": lambda: nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True),
        "optimiser (RAdam)": optimizer.step,
        "average": lambda: averaged.update(network, 0.999),
    }
    wanted = {"forward", *only} if only else timed.keys()
    return medians(rounds, {name: work for name, work in timed.items() if name in wanted}, "forward")


def dual_costs(rounds: int, spec: dict, shape: tuple, size: int) -> dict[str, float]:
    """Of an output with its graph and its derivative, and of torch.func.jvp without a graph, in forward passes."""
    network = build_network(spec, shape).train()
    primals = torch.randn(size, *shape), torch.randn(size)
    tangents = tuple(torch.randn_like(p) for p in primals)

    @torch.no_grad()
    def forward():
        network(*primals)

    @torch.no_grad()
    def generic():
        with sdpa_kernel(SDPBackend.MATH):
            torch.func.jvp(network, primals, tangents)

    timed = {"forward": forward, "tracked": lambda: network(*primals)}
    timed |= {"dual": lambda: jvp(network, primals, tangents), "torch.func.jvp": generic}
    return medians(rounds, timed, "forward")


@contextmanager
def by_generic_jvp():
    """Derivatives along trajectories by torch.func.jvp, beside the forward pass with its graph."""
    dual = total_derivative.jvp

    def generic(function, primals, tangents):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            _, tangent = torch.func.jvp(function, primals, tangents)
        return function(*primals), tangent

    total_derivative.jvp = generic
    try:
        yield
    finally:
        total_derivative.jvp = dual


def peak(network: tuple, generic: bool) -> int:
    """The most memory that a process which makes a few sCT steps has had, bytes: called in a process of its own."""
    keep_freed_memory()
    spec, shape, size = network
    losses = step_of(METHODS["sCT"][0], build_network(spec, shape).train(), shape, size)
    with by_generic_jvp() if generic else nullcontext():
        for _ in range(3):
            losses().mean().backward()
    return peak_bytes()


def peaks(network: tuple) -> tuple[int, int]:
    """By dual layers, and by torch.func.jvp."""
    found = []
    for generic in (False, True):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            found.append(process.submit(peak, network, generic).result())
    return found[0], found[1]


def guidance_of(spec: dict, shape: tuple, size: int) -> Callable[[], torch.Tensor]:
    """A denoiser's evaluation with guidance by labels."""
    denoiser = build_preconditioner({"name": "edm"}, build_network(spec, shape, 10))
    x, sigma, labels = torch.randn(size, *shape), torch.rand(size) + 0.1, torch.eye(10)[torch.arange(size) % 10]
    return torch.no_grad()(lambda: guided(denoiser, x, sigma, labels, 2.0))


def kept_for_backward(spec: dict, shape: tuple, size: int) -> dict[str, float]:
    """Bytes that the losses keep for the gradient, in those of the student's one pass (EDM's step)."""
    network = build_network(spec, shape).train()

    def kept(method: dict) -> int:
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no place is used twice
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = step_of(method, network, shape, size)()
        del loss
        return sum(t.untyped_storage().nbytes() for t in storages.values())

    counts = {name: kept(method) for name, (method, _) in METHODS.items()}
    return {name: count / counts["EDM"] for name, count in counts.items()}


def copies_of_weights(folder: Path) -> dict[str, tuple[float, int]]:
    """How often a training holds the weights, and how often it should: student and average, target, teacher."""
    store = ingest({"name": "digits"}, folder / "digits")
    spec = ModelSpec("teacher", DIGITS | {"second_time": False}, {"name": "edm"})
    teacher = Model(build_function(spec, store.space), store.space, spec).save(folder / "teacher")
    wanted = {"EDM": 2, "CT": 3, "iCT": 2, "ECT": 2, "CD Euler": 3, "CD Heun": 4, "PD": 3, "CTM": 4}
    wanted |= {"sCT": 2, "sCD": 3, "FACM, data's velocity": 2, "FACM": 3}
    wanted |= {"MeanFlow, data's velocity": 2, "MeanFlow": 3, "SoFlow": 2, "SoFlow, 3/4 of the rows flow": 2}
    wanted |= {"Shortcut": 3, "LSD": 2}
    return {
        name: (_copies(_job(name, method, store, teacher), folder / name), wanted[name])
        for name, (method, _) in METHODS.items()
    }


def _job(name: str, method: dict, store: ArrayStore, teacher: SavedModel) -> Job:
    method = method | ({"target_ema": 0.95} if name == "CD Heun" else {"start_steps": 2} if name == "PD" else {})
    objective = build_objective(method)
    kind, network = {"name": objective.preconditioner}, DIGITS | {"second_time": objective.second_time}
    numbers = TrainingSettings(images=4, batch_size=2)
    start = {"start": "teacher", "start_new": ("embed.second",)} if name in FROM_TEACHER else {}
    return Job.of(Recipe(name, objective, numbers, network, kind, **start), store, teacher)


def _copies(job: Job, run_dir: Path) -> float:
    before = {id(p) for p in _parameters()}
    training = Training(job, run_dir)
    for _ in range(training.settings.steps):
        training.make_step()
    found = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in _parameters() if id(p) not in before}
    weights = sum(p.untyped_storage().nbytes() for p in training.networks.student.parameters())
    return sum(found.values()) / weights


def _parameters() -> list[nn.Parameter]:
    gc.collect()
    return [o for o in gc.get_objects() if issubclass(type(o), nn.Parameter)]


def bf16_speed(rounds: int, spec: dict, shape: tuple, size: int) -> float:
    """How many times faster EDM's step is with bf16 autocast than in fp32."""
    losses = step_of(METHODS["EDM"][0], build_network(spec, shape), shape, size)

    def step(enabled: bool):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = losses().mean()
        loss.backward()

    return medians(rounds, {"bf16": lambda: step(True), "fp32": lambda: step(False)}, "bf16")["fp32"]


def forced_share(rounds: int, spec: dict, shape: tuple, size: int) -> tuple[int, float]:
    """Weights of a network, and what forced normalisation of them takes of EDM's step of a batch."""
    network = build_network(spec, shape).train()
    losses = step_of(METHODS["EDM"][0], network, shape, size)
    layers, go_on = [layer for layer in network.modules() if isinstance(layer, Forced)], torch.zeros(())

    def force():
        for layer in layers:
            layer.after_step(go_on)

    times = medians(rounds, {"step": lambda: losses().mean().backward(), "forced": force}, "step")
    return sum(p.numel() for p in network.parameters()), times["forced"]


def update_speed(rounds: int) -> tuple[int, dict[str, float]]:
    """Weights of CIFAR-10's DDPM++, and how many times faster ours are updated than by default Adam and a loop."""
    network = build_network(**from_published({"model_type": "SongUNet", **DDPMPP}))
    average = copy.deepcopy(network).requires_grad_(False)
    averaged = Average(average)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    ours = build_optimizer(network, TrainingSettings(optimizer="adam", learning_rate=1e-6))
    default = torch.optim.Adam(network.parameters(), lr=1e-6)

    @torch.no_grad()
    def loop():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.copy_(value.lerp(mean, 0.999))

    def both():
        ours.step()
        averaged.update(network, 0.999)

    ways = {"both": both, "default Adam": default.step, "Python loop": loop, "fused Adam": ours.step}
    times = medians(rounds, ways | {"foreach": lambda: averaged.update(network, 0.999)}, "both")
    speeds = {
        "together": times["default Adam"] + times["Python loop"],
        "Adam": times["default Adam"] / times["fused Adam"],
        "average": times["Python loop"] / times["foreach"],
    }
    return sum(p.numel() for p in network.parameters()), speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few rounds: to see that it works")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*METHODS, "guided denoiser"], help="these rows, and nothing else")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as a training does
    bounds = Bounds()

    for title, (spec, shape, size) in NETWORKS.items():
        costs = step_costs(rounds, spec, shape, size, options.only)
        kept = {} if options.only else kept_for_backward(spec, shape, size)
        weights = sum(p.numel() for p in build_network(spec, shape).parameters()) / 1e6
        print(f"\n{title}, {weights:.2f} M weights, a forward pass {1000 * costs['seconds']:.1f} ms")
        print(f"{'':24}{'forward passes':>16}{'counted':>9}{'at most':>9}{'kept for backward':>19}")
        for name, most in {**{n: m for n, (_, m) in METHODS.items()}, "guided denoiser": 2.1}.items():
            smaller = SMALLER if name in CONTINUOUS else SMALL_PASSES if name in IN_PARTS else 1
            most *= smaller if spec is DIGITS else 1
            if name in costs:
                counted, held = COUNTED.get(name, ""), f"{kept[name]:.2f}" if name in kept else ""
                print(f"{name:24}{costs[name]:16.2f}{counted:>9}{most:9.1f}{held:>19}")
                bounds.at_most(f"{name}, {title}", costs[name], most)
        if options.only:
            continue
        for name in ("sCT, torch.func.jvp", "clipping", "optimiser (RAdam)", "average"):
            print(f"{name:24}{costs[name]:16.2f}")
        faster, (dual, generic) = costs["sCT, torch.func.jvp"] / costs["sCT"], peaks((spec, shape, size))
        print(f"sCT is {faster:.2f} times faster by dual layers", end=", ")
        print(f"and a process of it takes {dual / 2**20:.0f} MiB at most, {generic / 2**20:.0f} by torch.func.jvp")
        bounds.at_least(f"sCT by dual layers, times faster, {title}", faster, GENERIC)
        bounds.at_most(f"sCT by dual layers, bytes, {title}", dual, generic)

    if not options.only:
        the_rest(rounds, bounds)
    bounds.settle()


def the_rest(rounds: int, bounds: Bounds) -> None:
    """What is not the cost of a step: derivatives, bf16, the update of the weights, how often they are held."""
    for title, network in OTHERS.items():
        costs = step_costs(rounds, *network, FEW)
        print(f"\n{title}, a forward pass {1000 * costs['seconds']:.1f} ms")
        for name in FEW:
            most = METHODS[name][1] * (SMALLER if name in CONTINUOUS else 1)
            print(f"{name:24}{costs[name]:16.2f}{most:9.1f}")
            bounds.at_most(f"{name}, {title}", costs[name], most)
    count, share = forced_share(max(3, rounds // 5), *EDM2_CIFAR10)
    print(f"\nforced normalisation, {count / 1e6:.1f} M weights, batch {EDM2_CIFAR10[-1]}: {share:.2%} of EDM's step")
    bounds.at_most("forced normalisation, share of a step", share, FORCED)
    print(f"\n{'the derivative too':48}{'dual':>8}{'at most':>9}{'torch.func.jvp':>16}{'forward with graph':>20}")
    for title, (*network, most) in DUALS.items():
        costs = dual_costs(rounds, *network)
        print(f"{title:48}{costs['dual']:8.2f}{most:9.2f}{costs['torch.func.jvp']:16.2f}{costs['tracked']:20.2f}")
        bounds.at_most(f"dual pass, {title}", costs["dual"], most)

    print("\nbf16 autocast against fp32, EDM's step")
    for title, network in NETWORKS.items():
        faster = bf16_speed(rounds, *network)
        print(f"{title:40}{faster:6.2f} times faster")
        if network[0] is LARGER and "avx512_bf16" in Path("/proc/cpuinfo").read_text():
            bounds.at_least(f"bf16, times faster, {title}", faster, BF16)
    count, speeds = update_speed(max(3, rounds // 2))
    print(f"\nfused Adam and foreach average against default Adam and a Python loop, {count / 1e6:.1f} M weights")
    for name, speed in speeds.items():
        print(f"{name:40}{speed:6.2f} times faster")
    bounds.at_least("update of the weights, times faster", speeds["together"], UPDATE)
    print(f"\n{'copies of the weights':24}{'held':>6}{'should be':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (held, wanted) in copies_of_weights(Path(folder)).items():
            print(f"{name:24}{held:6.2f}{wanted:12}")
            bounds.at_most(f"copies of the weights, {name}", round(held, 2), wanted)


if __name__ == "__main__":
    main()
