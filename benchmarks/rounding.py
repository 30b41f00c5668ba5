"""How much of each method's gradient is rounding, in bf16 autocast and in fp32, against float64.

    python benchmarks/rounding.py [project] [--batch 64] [--batches 4]

project: a folder in which `kedro run` has trained teacher and student of digits. Each method's student gets the trained
student's weights, or the teacher's where it has other inputs, and makes the gradient of the same batches with the same
random draws at the first, the middle and the last step of its training: float64, bf16 autocast and fp32. Printed: the
norm of the difference to float64 over the norm of the gradient, for one batch (the median) and for the mean over all of
them, in which rounding that is as good as noise cancels.
"""

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from fewstep.data import ArrayStore
from fewstep.diffusion.randomness import StepRandomness
from fewstep.models.model import SavedModel
from fewstep.objectives import Batch
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.training.job import Job
from fewstep.training.loop import Step, Training

PLACES = {"first": 0.0, "middle": 0.5, "last": 1.0}


def trained(recipe: str, project: Path, images: ArrayStore, folder: str, batch: int) -> Training:
    """A training of a recipe that begins from trained weights. folder: for its run, in which nothing is written."""
    given = {} if recipe == "teacher" else {"recipe": recipe}
    found = RecipeConfigLoader("conf", env="base", runtime_params=given, **CONFIG_LOADER_ARGS).parameters
    teacher = SavedModel.open(project / "data/06_models/digits/teacher")
    chosen = found.teacher if recipe == "teacher" else found.student
    numbers = replace(chosen.training, batch_size=batch, micro_batch_size=0, precision="fp32")
    before = replace(teacher, spec=replace(teacher.spec, name=chosen.earlier.name)) if chosen.earlier else None
    training = Training(Job.of(replace(chosen, training=numbers), images, teacher, before), Path(folder))
    for model in ("teacher", "cd")[: 1 if recipe == "teacher" else 2]:  # the latter has the last word
        weights = SavedModel.open(project / "data/06_models/digits" / model).load("cpu").function.state_dict()
        networks = {training.networks.student, training.networks.target}
        for network in networks:
            own = network.state_dict()
            network.load_state_dict({**own, **{k: v for k, v in weights.items() if k in own}})
    return training


def gradient(training: Training, step: int, precision: str, batch: int) -> Tensor:
    """The student's gradient of the batch of a step, as one vector in float64."""
    module = training.step_module
    double = precision == "float64"
    if double:
        networks = copy.deepcopy(training.networks)
        for each in (
            networks.student,
            networks.target,
            networks.teacher,
            networks.earlier,
            networks.distance,
            *networks.modules.values(),
        ):
            if each is not None:
                each.double()
        module = Step(training.objective, networks)
    module.zero_grad(set_to_none=True)
    rows = slice(0, batch)
    given = training.batches(step, rows, torch.device("cpu"))
    if double:  # draws stay those of float32
        given = Batch(given.x0.double(), None if given.labels is None else given.labels.double())
    rng = StepRandomness(0, step, batch, rows)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        losses = module(given, training.progress_at(step), rng)
    losses["student"].float().mean().backward() if not double else losses["student"].mean().backward()
    grads = [p.grad.double().flatten() for p in module.trained["student"].parameters() if p.grad is not None]
    return torch.cat(grads)


def shares(training: Training, place: float, batch: int, batches: int) -> dict[str, tuple[float, float]]:
    """{precision: rounding over gradient, of a batch and of the mean of all}."""
    first = int(place * (training.settings.steps - batches))
    exact = [gradient(training, first + i, "float64", batch) for i in range(batches)]
    found = {}
    for precision in ("bf16", "fp32"):
        apart = [gradient(training, first + i, precision, batch) - exact[i] for i in range(batches)]
        one = median(float(a.norm() / e.norm()) for a, e in zip(apart, exact, strict=True))
        found[precision] = one, float(sum(apart).norm() / sum(exact).norm())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?", default=Path())
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--recipes", nargs="*", help="Without it: all that there are.")
    options = parser.parse_args()
    images = ArrayStore.open(options.project / "data/02_intermediate/digits/images")
    students = sorted(p.stem for p in Path("conf/base/parameters/recipes").glob("*.yml"))
    recipes = options.recipes or ["teacher", *students]
    print(f"{'recipe':9}{'place':8}{'bf16':>10}{'of all':>10}{'fp32':>12}{'of all':>12}")
    for recipe in recipes:
        with TemporaryDirectory() as folder:
            training = trained(recipe, options.project, images, folder, options.batch)
            for name, place in PLACES.items():
                found = shares(training, place, options.batch, options.batches)
                (half, halves), (single, singles) = found["bf16"], found["fp32"]
                print(f"{recipe:9}{name:8}{half:10.3g}{halves:10.3g}{single:12.2g}{singles:12.2g}", flush=True)


if __name__ == "__main__":
    main()
