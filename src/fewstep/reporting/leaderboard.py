"""The leaderboard of a comparison: scores, levels and cost of each method."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fewstep.evaluation.results import Evaluation, Floor, Measurement, Row, TrainingBudget, check_format
from fewstep.models.model import SavedModel
from fewstep.reporting.published_results import published_results
from fewstep.reporting.table import aligned, caption, cell
from fewstep.support.errors import InvalidInput

FORMAT = 1  # of the JSON; files without a number are of the layout before
COST = ("images", "steps", "seconds", "parameters", "taught")


@dataclass(frozen=True)
class Method:
    """The student of a recipe: its scores at each NFE, in increasing order, and the cost of its training.

    images: seen in training. steps: of the optimiser. Both, and seconds, are of all stages that the student went
    through. parameters: their number. taught: whether it had a teacher.
    """

    recipe: str
    rows: tuple[Row, ...]
    images: int
    steps: int
    seconds: float
    parameters: int
    taught: bool

    @classmethod
    def of(cls, student: SavedModel, evaluation: Evaluation) -> "Method":
        """The method of a student that was trained here, with its rows of an evaluation."""
        made, name = student.spec.provenance, student.spec.name
        rows = tuple(sorted(evaluation.usual_rows_of(name), key=lambda row: row.nfe))
        images, steps, seconds = 0, 0, 0.0
        for stage in made.stages:
            assert stage.images and stage.training and stage.seconds is not None
            images, seconds = images + stage.images, seconds + stage.seconds
            steps += stage.images // stage.training["batch_size"]
        assert made.parameters
        return cls(name, rows, images, steps, seconds, made.parameters, made.teacher_sha256 is not None)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON: scores and levels by NFE."""
        rows = {str(row.nfe): row.to_json() for row in self.rows}
        return {
            "recipe": self.recipe,
            "sampler": self.rows[0].sampler,
            "scores": {nfe: row["scores"] for nfe, row in rows.items()},
            "levels": {nfe: row["levels"] for nfe, row in rows.items()},
            "images_per_second": {nfe: row["images_per_second"] for nfe, row in rows.items()},
            **{name: getattr(self, name) for name in COST},
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Method":
        """The inverse of to_json; the layout before it had no samplers and speeds."""
        speeds, sampler = facts.get("images_per_second", {}), facts.get("sampler", "")
        rows = (
            {
                "model": facts["recipe"],
                "sampler": sampler,
                "nfe": int(nfe),
                "levels": facts["levels"][nfe],
                "scores": scores,
                "images_per_second": speeds.get(nfe),
            }
            for nfe, scores in facts["scores"].items()
        )
        return cls(facts["recipe"], tuple(map(Row.from_json, rows)), **{name: facts[name] for name in COST})


@dataclass(frozen=True)
class Leaderboard:
    """Students of several recipes, trained for one budget and measured in the same way, the best first.

    primary: the score that ranks them, at the fewest evaluations. reference: rows of the teacher. teacher_seconds: the
    time of its training.
    """

    measurement: Measurement
    primary: str
    floor: Floor
    budget: TrainingBudget
    teacher_sha256: str
    teacher_seconds: float
    methods: tuple[Method, ...]
    reference: tuple[Row, ...]

    @property
    def nfes(self) -> list[int]:
        """The numbers of network evaluations at which methods are compared, in rising order."""
        return [row.nfe for row in self.methods[0].rows]

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "format": FORMAT,
            **self.measurement.to_json(),
            "primary": self.primary,
            "floor": self.floor.to_json(),
            "budget": asdict(self.budget),
            "teacher_sha256": self.teacher_sha256,
            "teacher_seconds": self.teacher_seconds,
            "methods": [method.to_json() for method in self.methods],
            "reference": [row.to_json() for row in self.reference],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Leaderboard":
        """The inverse of to_json; the layout before it, which called the primary score "score", is read too."""
        check_format(facts, "a leaderboard", FORMAT)
        return cls(
            Measurement.from_json(facts),
            facts["primary"] if "primary" in facts else facts["score"],
            Floor.from_json(facts["floor"]),
            TrainingBudget(**facts["budget"]),
            facts["teacher_sha256"],
            facts["teacher_seconds"],
            tuple(map(Method.from_json, facts["methods"])),
            tuple(map(Row.from_json, facts["reference"])),
        )


def leaderboard(evaluation: Evaluation, students: Sequence[SavedModel], teacher: SavedModel) -> Leaderboard:
    """The leaderboard of students that one evaluation scored together; the best at the fewest evaluations is first.

    Raises ValueError for an evaluation without a budget.
    """
    if evaluation.budget is None:
        raise InvalidInput("a leaderboard needs scores of trainings of one budget: kedro run --pipelines=compare")
    primary = evaluation.primary
    methods = sorted(
        (Method.of(student, evaluation) for student in students),
        key=lambda method: method.rows[0].scores[primary].mean,
    )
    return Leaderboard(
        evaluation.measurement,
        primary,
        evaluation.floor,
        evaluation.budget,
        teacher.sha256,
        teacher.spec.provenance.seconds or 0.0,
        tuple(methods),
        tuple(evaluation.rows_of(teacher.spec.name)),
    )


def leaderboard_table(board: Leaderboard) -> str:
    """A line for each method, then the teacher and the floor, then published scores for the data set."""
    score = board.primary
    head = ["method", *(f"{score} {nfe} NFE" for nfe in board.nfes), "levels of 2 NFE", "steps", "images", "seconds"]
    lines = [head, *(_line(method, score) for method in board.methods)]
    reference = [[f"{r.model}, {r.sampler}, {r.nfe} NFE", cell(r.scores[score])] for r in board.reference]
    reference.append(["floor: held-out", cell(board.floor.scores[score])])
    words = "\n".join([*caption(board.measurement, board.floor), *_cost(board)])
    parts = [words, aligned(lines, text=1), aligned(reference, text=1)]
    published = [
        [r["method"], f"{r['fid']} at {r['nfe']} NFE", r["source"]]
        for r in published_results(board.measurement.dataset)
    ]
    if published:
        words = (
            "published: FID by Inception of 50,000 samples after days of training, not to be compared with the above"
        )
        parts += [words, aligned(published, text=3)]
    return "\n\n".join(parts)


def _line(method: Method, score: str) -> list[str]:
    second = next((", ".join(f"{level:.3g}" for level in row.levels) for row in method.rows if row.nfe == 2), "")
    cost = [f"{method.steps:,}", f"{method.images:,}", f"{method.seconds:.0f}"]
    return [method.recipe, *(cell(row.scores[score]) for row in method.rows), second, *cost]


def _cost(board: Leaderboard) -> list[str]:
    """An explanation of the seconds in the table."""
    names = [method.recipe for method in board.methods]
    taught = ", ".join(method.recipe for method in board.methods if method.taught)
    own = "; pd has its own, and its last student was taught one step only" if "pd" in names else ""
    return [
        f"each was trained for {board.budget}; {taught} after a teacher of {board.teacher_seconds:.0f} seconds more",
        f"levels were searched on held-out images, by a seed of their own{own}",
    ]
