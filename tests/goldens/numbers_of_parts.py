"""The seeded numbers of each part, in float64 where it has a choice: what its version stands for.

`NUMBERS[part](specs)` gives {name: [numbers]}. specs: {recipe: Recipe.to_json()} of the recipes that a method has.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fewstep import budget, data, diffusion, evaluation, losses, networks, preconditioning, samplers, training
from fewstep.data import augmentation, latent_space
from fewstep.diffusion import randomness
from fewstep.objectives import build_objective, objective_class, objective_names
from fewstep.training import power_average

OTHERS = {
    "randomness": randomness,
    "diffusion": diffusion,
    "networks": networks,
    "preconditioning": preconditioning,
    "losses": losses,
    "data": data,
    "samplers": samplers,
    "evaluation": evaluation,
    "training": training,
}
ABOVE = {"budget": budget, "augmentation": augmentation, "power_average": power_average}  # of the methods
ABOVE |= {"latents": latent_space}
METHODS = objective_names()
MODULES = OTHERS | ABOVE
PARTS = [*OTHERS, *METHODS, *ABOVE]  # what fails is blamed on the first that moved
STEPS, BATCH = 3, 4


def version_of(part: str) -> int:
    return MODULES[part].NUMERICS if part in MODULES else objective_class(part).numerics


def place_of(part: str) -> str:
    """The file and the name of a part's integer."""
    if part in MODULES:
        return f"src/{Path(*MODULES[part].__file__.split('/src/')[-1:])}: NUMERICS"
    return f"src/fewstep/objectives/{part}.py: {objective_class(part).__name__}.numerics"


@contextmanager
def double() -> Iterator[None]:
    """Whatever is made meanwhile is float64, by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers that no code of ours makes, and no code of PyTorch's."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).to(torch.get_default_dtype())


def drawn(module: nn.Module, seed: int = 0, std: float = 0.1) -> nn.Module:
    """The module with weights that no initialisation leaves at 0."""
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(std * seeded(*parameter.shape, seed=seed + number))
    return module


def few(values: Tensor) -> list[float]:
    """A tensor in a few numbers: two sums that every element has a part in, and the first elements."""
    flat = values.detach().double().flatten()
    waves = torch.arange(len(flat), dtype=torch.float64).sin()
    return [flat.abs().sum().item(), (flat * waves).sum().item(), *flat[:4].tolist()]


def of_randomness(_) -> dict:
    from fewstep.data.space import DataSpace
    from fewstep.training.batches import Batches, batch_indices
    from fewstep.training.hyperparameters import TrainingSettings

    rng = randomness.StepRandomness(1, 2, 8, slice(2, 6))
    found = {"normal": rng.normal((3,)), "uniform": rng.uniform(), "shared": rng.shared(), "integers": rng.integers(99)}
    for name in ("dropout", "again"):
        with rng.dropout():
            found[name] = torch.nn.functional.dropout(torch.ones(32), 0.5)
    samples = randomness.SampleRandomness([3, 4], [0, 7])
    found |= {"sample": samples.normal((5,)), "draw": samples.normal((1,)), "sample integers": samples.integers(99)}
    found["order"] = torch.from_numpy(batch_indices(11, 3, 7, 16))
    settings = TrainingSettings(batch_size=8, labels=True, label_dropout=0.5, flips=True)
    space = DataSpace("golden", "images", (1, 2, 2), 0.7, ("a", "b", "c"))
    images = np.arange(44, dtype=np.uint8).reshape(11, 1, 2, 2)
    batch = Batches(images, np.arange(11) % 3, space, settings, 5)(3, slice(0, 8), torch.device("cpu"))
    return {name: few(value) for name, value in (found | {"x0": batch.x0, "labels": batch.labels}).items()}


def of_diffusion(_) -> dict:
    from fewstep.diffusion.gaussian import Gaussian
    from fewstep.diffusion.guidance import guided
    from fewstep.diffusion.levels import arc_levels, karras_levels, lognormal_intervals, lognormal_levels, pick
    from fewstep.diffusion.solvers import SOLVERS

    known, x, normal = Gaussian(0.3, 0.5), seeded(4, 3), seeded(6, seed=1)
    sigma, lower = torch.tensor([80.0, 5.0, 0.5, 0.01]), torch.tensor([50.0, 3.0, 0.2, 0.002])
    intervals = lognormal_intervals(karras_levels(9), -1.1, 2.0)
    found = {f"solver {name}": step(known.denoiser, x, sigma, lower) for name, step in SOLVERS.items()}
    found["guided"] = guided(lambda x, s, labels: x * labels.sum(1, keepdim=True), x, sigma, torch.eye(4), 1.5)
    found |= {"karras": karras_levels(7), "intervals": intervals, "pick": pick(intervals, normal.sigmoid())}
    found |= {"lognormal": lognormal_levels(normal, -1.1, 2.0), "arc": arc_levels(normal, -0.8, 1.6)}
    return {name: few(value) for name, value in found.items()}


DDPMPP = {"attn_resolutions": [4], "middle_attention": True, "decoder_attention": "last", "norm_eps": 1e-6}
DDPMPP |= {"endpoint": True, "labels_first": True, "skip_scale": 0.5**0.5, "adaptive_scale": False}
DDPMPP |= {"resample_proj": True, "init": "xavier"}
FAMILIES = {  # of conf/, small
    "plain": {},
    "ddpm++": DDPMPP,
    "ncsn++": DDPMPP | {"embedding": "fourier", "fourier_scale": 0.02},
    "adm": {"attn_resolutions": [8, 4], "middle_attention": True, "head_channels": 4},
    "trig": {"c_noise": "angle", "double_norm": True, "second_time": True},
}
UNET = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
DIT = {"name": "dit", "channels": 16, "num_blocks": 2, "num_heads": 2}
MODERN = {"rms_norm": True, "qk_norm": True, "rope": True, "swiglu": True, "second_time": True, "patch": 4}
TRANSFORMERS = {"dit": DIT, "dit, modern": DIT | MODERN}


def of_networks(_) -> dict:
    c_noise, labels = seeded(2, seed=3), torch.eye(5)[:2]

    def output(spec: dict, shape: tuple[int, ...] = (3, 8, 8)) -> torch.Tensor:
        second = {"second": c_noise / 2} if spec.get("second_time") else {}
        return drawn(networks.build_network(spec, shape, 5)).eval()(seeded(2, *shape), c_noise, labels, **second)

    def initialised(spec: dict, classes: int = 0) -> torch.Tensor:
        fresh = networks.build_network(spec, (1, 8, 8), classes)
        return torch.cat([p.flatten() for p in fresh.parameters()])

    # A network draws from the generator of those before it: a new one comes last.
    found = {name: output(UNET | settings) for name, settings in FAMILIES.items()}
    found["mlp"] = output({"name": "mlp", "channels": 8, "num_blocks": 2}, (2,))
    found["initialised"] = initialised(UNET | {"channel_mult": [1]})
    found |= {name: output(spec) for name, spec in TRANSFORMERS.items()}
    found["dit, initialised"] = initialised(DIT, 5)
    return {name: few(value) for name, value in found.items()}


def of_preconditioning(_) -> dict:
    found, x, sigma = {}, seeded(3, 2), torch.tensor([0.003, 0.4, 60.0])
    for name in preconditioning.PRECONDITIONERS:
        spec = {"name": "mlp", "channels": 8, "num_blocks": 1, "second_time": name == "flow" or "trajectory" in name}
        function = preconditioning.build_preconditioner({"name": name}, drawn(networks.build_network(spec, (2,))))
        found[name] = function(x, sigma)
        if name == "trajectory":
            found["jump"] = function(x, sigma, sigma_next=sigma / 2)
        if name == "trigflow":
            found["tangent"] = torch.cat(function.tangent(x, sigma, 0.5 * x, 0.7, None))
        if name == "flow":
            found["anchor"] = function.anchor(x, sigma)
            found["derivative"] = torch.cat(function.derivative(x, sigma, 0.5 * x, None))
    return {name: few(value) for name, value in found.items()}


def of_losses(_) -> dict:
    from fewstep.losses.adversarial import deception_loss, judge_loss
    from fewstep.losses.balance import adaptive_weight, linearised
    from fewstep.losses.distances import build_distance

    class Judge(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(seeded(6, seed=9))

        def forward(self, x, labels):
            return x @ self.weight

    a, b, judge = seeded(3, 6), seeded(3, 6, seed=1), Judge()
    found = {name: build_distance(name)(a, b) for name in ("l1", "l2", "pseudo_huber")}
    found |= {"judge": judge_loss(judge, a, b, None), "deception": deception_loss(judge, b, None)}
    last = nn.Parameter(seeded(6, seed=2))
    out = a * last
    found["weight"] = adaptive_weight((out - b).square().sum(1), out.abs().sum(1), last, torch.Tensor.detach)
    found["linearised"] = linearised((out - b).square().sum(1), out)
    return {name: few(value.reshape(-1)) for name, value in found.items()}


def of_data(_) -> dict:
    found = {}
    for source in ({"name": "digits"}, {"name": "moons", "count": 64}, {"name": "patches", "count": 16}):
        with tempfile.TemporaryDirectory() as folder:
            store = data.ingest(source, Path(folder) / "store")
            values = store.images("train")
            found[source["name"]] = [store.space.scale, *few(torch.from_numpy(values.astype(np.float64)))]
            found[f"{source['name']} seen"] = few(store.space.encode(values[:8]))
            found[f"{source['name']} labels"] = few(torch.from_numpy(store.labels("train").astype(np.float64)))
    return found


def of_samplers(_) -> dict:
    from fewstep.diffusion.gaussian import Gaussian
    from fewstep.diffusion.levels import karras_levels

    known, levels, found = Gaussian(0.3, 0.5), karras_levels(6)[:5], {}

    def rng():
        class Draws:
            count = 0

            def normal(self, shape):
                self.count += 1
                return seeded(3, *shape, seed=10 + self.count)

        return Draws()

    for name, sample in samplers.DENOISER_SAMPLERS.items():
        found[name] = sample(known.denoiser, seeded(3, 2), levels, rng())
    found["multistep"] = samplers.sample_multistep(known.consistency(0.002), seeded(3, 2), levels, rng())
    for gamma in (0.0, 0.5):
        found[f"gamma {gamma}"] = samplers.sample_gamma(known.flow, seeded(3, 2), levels, rng(), gamma)
    found["carry_up"] = samplers.carry_up(known.denoiser, seeded(3, 2), levels)
    return {name: few(value) for name, value in found.items()}


def of_evaluation(_) -> dict:
    from fewstep.evaluation.features import Features
    from fewstep.evaluation.interval import interval
    from fewstep.evaluation.scores import Reference, score_features

    with_logits = Features(seeded(64, 4).float(), seeded(64, 3, seed=1).float())
    reference = Reference.of_features(Features(1.2 * seeded(80, 4, seed=2).float() + 0.1))
    scores = score_features(with_logits, reference)
    names = ("fid", "kid", "precision", "recall", "is")  # those that followed have tests of their own
    return {name: [float(scores[name])] for name in names} | {"interval": interval([1.0, 2.0, 4.0])}


@cache
def _images():
    folder = tempfile.mkdtemp()
    return data.ingest({"name": "patches", "count": 24, "side": 8}, Path(folder) / "store")


NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1}
TEACHER = {"name": "teacher", "objective": {"name": "denoising"}, "preconditioning": {"name": "edm"}}


def small(spec: dict, **numbers) -> dict:
    """A recipe, a few steps of it, with a small network."""
    kept = {n: v for n, v in spec.get("network", {}).items() if n in ("second_time", "c_noise")}
    batch = max(BATCH, build_objective(spec["objective"]).group)
    sizes = {"images": STEPS * batch, "batch_size": batch, "micro_batch_size": 0, "precision": "fp32", "labels": True}
    training_numbers = {**spec.get("training", {}), **sizes, "learning_rate_warmup": 0, **numbers}
    plain = {"network": NETWORK | kept, "training": training_numbers, "start": "scratch", "levels": {}}
    return {**spec, **plain} | ({"earlier": small(spec["earlier"])} if "earlier" in spec else {})


def trained(spec: dict, steps: int = STEPS) -> dict:
    """Losses and gradient norms of a few steps, and weights after them."""
    from fewstep.models.model import Model, SavedModel, build_function
    from fewstep.objectives import Batch
    from fewstep.training.job import Job
    from fewstep.training.loop import Training
    from fewstep.training.recipe import Recipe

    recipe, images = Recipe.from_json(spec), _images()
    with tempfile.TemporaryDirectory() as folder:

        def model_of(recipe: Recipe, seed: int) -> SavedModel:
            spec = recipe.spec(images.sha256)
            function = drawn(build_function(spec, images.space), seed=seed)
            return SavedModel.open(Model(function, images.space, spec).save(Path(folder) / str(seed)).folder)

        teacher = model_of(Recipe.from_json(small(TEACHER)), 500) if recipe.needs_teacher else None
        earlier = model_of(recipe.earlier, 700) if recipe.earlier else None
        training_of = Training(Job.of(recipe, images, teacher, earlier), Path(folder) / "run")
        drawn(training_of.step_module.trained)
        slow = [m for m in (training_of.average, training_of.networks.target) if m is not training_of.networks.student]
        for module in slow:
            module.load_state_dict(training_of.networks.student.state_dict())
        batches = training_of.batches

        def in_double(*place):
            batch = batches(*place)
            return Batch(batch.x0.double(), None if batch.labels is None else batch.labels.double())

        training_of.batches = in_double
        facts = [reported_step(training_of) for _ in range(steps)]
    found = {name: [fact[name] for fact in facts] for name in ("loss", "grad_norm", "learning_rate")}
    for name, module in [("student", training_of.networks.student), ("average", training_of.average)]:
        found[name] = few(torch.cat([p.flatten() for p in module.parameters()]))
    return found


def reported_step(training) -> dict[str, float]:
    training.make_step()
    return training.report()


def of_training(_) -> dict:
    found = {}
    cases = {
        "adam": {"clip": 0.0, "ema_rampup": 0.0, "ema_halflife": 16.0},
        "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "micro_batch_size": 2, "learning_rate_decay": "constant"},
        "radam": {"optimizer": "radam", "learning_rate_warmup": 8, "clip": 0.1, "flips": True, "betas": (0.5, 0.9)},
    }
    for name, numbers in cases.items():
        found |= {f"{name} {key}": value for key, value in trained(small(TEACHER, **numbers)).items()}
    return found


def of_method(specs: dict) -> dict:
    found = {}
    for recipe, spec in specs.items():
        found |= {f"{recipe} {key}": value for key, value in trained(small(spec)).items()}
    return found


def of_budget(_) -> dict:
    """Images of a training that a budget allows, by every unit but seconds, which are the machine's."""
    from fewstep.launch import LaunchSettings
    from fewstep.models.model import Model, SavedModel, build_function
    from fewstep.step_cost import passes_of_a_sample
    from fewstep.training.job import Job
    from fewstep.training.recipe import Recipe

    here, images = LaunchSettings(workers=0, gpu=False), _images()
    student = {"name": "cd", "objective": {"name": "consistency_distillation"}}
    student |= {"preconditioning": {"name": "consistency"}}
    with tempfile.TemporaryDirectory() as folder:
        taught = Recipe.from_json(small(TEACHER)).spec(images.sha256)
        model = Model(build_function(taught, images.space), images.space, taught)
        teacher = SavedModel.open(model.save(Path(folder) / "teacher").folder)
        found = {}
        for spec in (TEACHER, student):
            job = Job.of(Recipe.from_json(small(spec)), images, teacher if spec is student else None)
            found[f"{spec['name']} passes of a sample"] = [passes_of_a_sample(job, here.device())]
            for unit, amount in (("images", 1_001), ("passes", 1_000), ("steps", 33)):
                bought = budget.with_budget(job, budget.Budget(unit, amount), Path(folder) / "ledger.json", here)
                found[f"{spec['name']} {unit}"] = [float(bought.recipe.training.images)]
    return found


def of_augmentation(_) -> dict:
    found = {}
    for name in augmentation.TRANSFORMATIONS:
        rng = randomness.StepRandomness(5, 3, 8, slice(0, 8))
        images, told = augmentation.Augmentation(**{name: 0.7})(seeded(8, 3, 6, 6), rng)
        found |= {name: few(images), f"{name} told": few(told)}
    return found


def of_power_average(_) -> dict:
    kept = [(images, std) for images in (64, 128, 192) for std in (0.05, 0.1)]
    coefficients, error = power_average.combination(kept, (192, 0.08))
    decays = [power_average.decay_at(std, images, 64) for images, std in kept]
    return {"coefficients": coefficients.tolist(), "error": [error], "decays": decays}


def of_latents(_) -> dict:
    from fewstep.autoencoders.autoencoder import Autoencoder
    from fewstep.autoencoders.kinds import Sizes
    from fewstep.data.encoding import measure
    from fewstep.data.latent_space import Latents, LatentSpace
    from fewstep.training.batches import Batches
    from fewstep.training.hyperparameters import TrainingSettings

    rows = np.random.RandomState(0).standard_normal((11, 2, 4, 3, 3)).astype(np.float16)
    latents = Latents((2, 3, 3), autoencoder="0" * 64, **measure(rows, 2))
    patches = Autoencoder(Path(), "Patches", {}, Sizes(2, 2, 1))
    space = LatentSpace("golden", "images", (2, 3, 3), 0.7, ("a",), latents=latents, autoencoder=patches)
    settings = TrainingSettings(batch_size=8, flips=True)
    batch = Batches(rows, np.zeros(11, np.int64), space, settings, 5)(3, slice(0, 8), torch.device("cpu"))
    measured = torch.tensor([*latents.shift, *latents.scale])
    return {"measured": few(measured), "x0": few(batch.x0), "restored": few(latents.restore(batch.x0))}


NUMBERS: dict[str, Callable[[dict], dict]] = {part: globals()[f"of_{part}"] for part in MODULES}
NUMBERS |= dict.fromkeys(METHODS, of_method)
FLOAT32 = ("randomness", "budget", "latents")  # streams that are others in float64, and counts


@cache
def recipes_of_conf() -> dict[str, dict]:
    """{method: {recipe: its JSON}} of conf/base, the teacher's among them."""
    from fewstep.pipelines.config_loader import RecipeConfigLoader
    from fewstep.settings import CONFIG_LOADER_ARGS

    conf = Path(__file__).parents[2] / "conf"
    known = RecipeConfigLoader(str(conf), env="base", **CONFIG_LOADER_ARGS).parameters
    found: dict[str, dict] = {method: {} for method in METHODS}
    for name, recipe in {"teacher": known.teacher, **known.students}.items():
        spec = recipe.to_json()
        found[recipe.objective.name][name] = _in_short(spec)
        if recipe.objective.needs_earlier:
            found[recipe.objective.name][name]["earlier"] = _in_short(spec["earlier"])
    return found


def _in_short(spec: dict) -> dict:
    """A recipe's JSON without what `small` sets."""
    return {key: spec[key] for key in ("name", "objective", "preconditioning")} | {
        "training": {key: spec["training"][key] for key in ("optimizer", "learning_rate", "betas")},
        "network": {key: spec["network"][key] for key in ("second_time", "c_noise") if key in spec["network"]},
    }


def compute(part: str, specs: dict) -> dict[str, list[float]]:
    """The numbers of a part as they are now."""
    with nullcontext() if part in FLOAT32 else double(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        return NUMBERS[part](specs)


__all__ = ["PARTS", "compute", "place_of", "recipes_of_conf", "version_of"]
