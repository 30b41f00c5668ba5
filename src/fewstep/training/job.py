"""What is to be trained, in plain values that any worker can be handed."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import fewstep
from fewstep.objectives import build_objective, objective_class, objective_names

SOURCES = (
    "data/space.py",
    "data/store.py",
    "diffusion/*.py",
    "networks/*.py",
    "objectives/*.py",
    "preconditioning/*.py",
    "training/*.py",
)


@dataclass(frozen=True)
class Job:
    """A training: the data, the networks, the method and its numbers.

    name: the recipe. data, teacher: folders of an array store and of a finished model, with hashes of their content.
    start: "scratch" or "teacher" (its weights); start_new: in what the teacher may be another, as beginnings of
    the names of parameters and of the network's settings. levels: {NFE: noise levels after the first} that the student
    is sampled with. picture_nfe: NFE of the sheets made while it trains.
    """

    name: str
    data: str
    data_sha256: str
    network: dict
    preconditioning: dict
    objective: dict
    training: dict
    teacher: str | None = None
    teacher_sha256: str | None = None
    start: str = "scratch"
    start_new: tuple[str, ...] = ()
    levels: dict = field(default_factory=dict)
    picture_nfe: tuple[int, ...] = (1,)
    seed: int = 0

    @property
    def spec(self) -> dict:
        """How the student is built and sampled: the head of its model.json."""
        return {
            "name": self.name,
            "network": self.network,
            "preconditioning": self.preconditioning,
            "sampler": objective_class(self.objective["name"]).sampler,
            "labels": bool(self.training.get("labels", False)),
            "levels": {str(k): list(v) for k, v in self.levels.items()},
            "data_sha256": self.data_sha256,
        }

    @property
    def provenance(self) -> dict:
        """Where the student comes from."""
        keys = ("objective", "training", "start", "start_new", "teacher_sha256", "seed")
        facts = {"run": self.run_name, "code": code_hash(self.objective["name"]), "fewstep": fewstep.__version__}
        return {key: getattr(self, key) for key in keys} | facts

    @property
    def description(self) -> dict:
        """Everything that the weights depend on: contents by their hashes instead of places, and the code."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("data", "teacher", "levels", "picture_nfe")}
        facts["training"] = {k: v for k, v in self.training.items() if not k.endswith("_every")}
        return json.loads(json.dumps(facts | {"code": code_hash(self.objective["name"])}))

    @property
    def run_name(self) -> str:
        """The name of the run's folder: recipe and hash of the description, so that no run takes another's place."""
        return f"{self.name}-{hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:12]}"


def needs_teacher(objective: dict, start: str) -> bool:
    """Whether a teacher gives a method its target, or a student its first weights."""
    return build_objective(objective).needs_teacher or start == "teacher"


@cache
def code_hash(objective: str) -> str:
    """sha256 over the sources that a training runs through, so that no run is resumed by other code.

    Of the methods only this one counts: a new method leaves the runs of the others as they were.
    """
    root, digest = Path(fewstep.__file__).parent, hashlib.sha256()
    others = {root / "objectives" / f"{name}.py" for name in objective_names() if name != objective}
    for file in sorted({p for pattern in SOURCES for p in root.glob(pattern)} - others):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]
