"""Methods side by side: scores, levels and cost of each."""

from collections.abc import Sequence

from fewstep.reporting.published_results import published_results
from fewstep.reporting.table import aligned, caption, cell, first_score


def leaderboard(scores: dict, students: Sequence, teacher) -> dict:
    """Scores of several students (as `joined` gives them) and what each cost, the best at the fewest evaluations first.

    students, teacher: finished models (fewstep.models.model.Model).
    """
    score = first_score(scores)
    entries = []
    for student in students:
        rows = {str(r["nfe"]): r for r in scores["rows"] if r["model"] == student.spec.name}
        made = student.spec.provenance
        entries.append(
            {
                "recipe": student.spec.name,
                "scores": {nfe: row["scores"] for nfe, row in rows.items()},
                "levels": {nfe: row["levels"] for nfe, row in rows.items()},
                "images": made.images,
                "steps": made.images // made.training["batch_size"],
                "seconds": made.seconds,
                "parameters": made.parameters,
                "taught": made.teacher_sha256 is not None,
            }
        )
    names = {entry["recipe"] for entry in entries}
    fewest = min(entries[0]["scores"], key=int)
    return {
        **{key: value for key, value in scores.items() if key not in ("rows", "model_sha256")},
        "teacher_sha256": teacher.sha256,
        "teacher_seconds": teacher.spec.provenance.seconds,
        "score": score,
        "methods": sorted(entries, key=lambda entry: entry["scores"][fewest][score]["mean"]),
        "reference": [row for row in scores["rows"] if row["model"] not in names],
    }


def leaderboard_table(board: dict) -> str:
    """A line for each method, then the teacher and the floor, then what was published for the data set."""
    score, methods = board["score"], board["methods"]
    nfes = sorted(methods[0]["scores"], key=int)
    lines = [["method", *(f"{score} {nfe} NFE" for nfe in nfes), "levels of 2 NFE", "steps", "images", "seconds"]]
    for entry in methods:
        second = ", ".join(f"{level:.3g}" for level in entry["levels"].get("2", []))
        cost = [f"{entry['steps']:,}", f"{entry['images']:,}", f"{entry['seconds']:.0f}"]
        lines.append([entry["recipe"], *(cell(entry["scores"][nfe][score]) for nfe in nfes), second, *cost])
    reference = [
        [f"{r['model']}, {r['sampler']}, {r['nfe']} NFE", cell(r["scores"][score])] for r in board["reference"]
    ]
    reference.append(["floor: held-out", cell(board["floor"]["scores"][score])])
    parts = ["\n".join([*caption(board), *_cost(board)]), aligned(lines, text=1), aligned(reference, text=1)]
    published = [
        [r["method"], f"{r['fid']} at {r['nfe']} NFE", r["source"]] for r in published_results(board["dataset"])
    ]
    if published:
        words = (
            "published: FID by Inception of 50,000 samples after days of training, not to be compared with the above"
        )
        parts += [words, aligned(published, text=3)]
    return "\n\n".join(parts)


def _cost(board: dict) -> list[str]:
    """What the table's seconds mean."""
    names = [entry["recipe"] for entry in board["methods"]]
    taught = ", ".join(entry["recipe"] for entry in board["methods"] if entry["taught"])
    own = "; pd has its own, and its last student was taught one step only" if "pd" in names else ""
    budget = f"{board['budget']['amount']:,g} {board['budget']['unit']}"
    return [
        f"each was trained for {budget}; {taught} after a teacher of {board['teacher_seconds']:.0f} seconds more",
        f"levels were searched on held-out images, by a seed of their own{own}",
    ]
