"""Methods side by side: scores, levels and cost of each."""

from collections.abc import Sequence

from onestep.evaluation.published import published_results
from onestep.evaluation.table import aligned, caption, cell


def leaderboard(scores: dict, students: Sequence) -> dict:
    """Scores of several students (as `joined` gives them) and what each cost, the best at the fewest evaluations first.

    students: finished models (onestep.training.model.Model).
    """
    score = next(iter(scores["rows"][0]["scores"]))
    entries = []
    for student in students:
        rows = {str(r["nfe"]): r for r in scores["rows"] if r["model"] == student.spec["name"]}
        made = student.spec["provenance"]
        entries.append(
            {
                "recipe": student.spec["name"],
                "scores": {nfe: row["scores"] for nfe, row in rows.items()},
                "levels": {nfe: row["levels"] for nfe, row in rows.items()},
                "images": made["images"],
                "steps": made["images"] // made["training"]["batch_size"],
                "seconds": made["seconds"],
                "parameters": made["parameters"],
            }
        )
    names = {entry["recipe"] for entry in entries}
    fewest = min(entries[0]["scores"], key=int)
    return {
        **{key: value for key, value in scores.items() if key != "rows"},
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
    reference = [[f"{r['model']}, {r['nfe']} NFE", cell(r["scores"][score])] for r in board["reference"]]
    reference.append(["floor: held-out", cell(board["floor"]["scores"][score])])
    parts = ["\n".join(caption(board)), aligned(lines, text=1), aligned(reference, text=1)]
    published = [
        [r["method"], f"{r['fid']} at {r['nfe']} NFE", r["source"]] for r in published_results(board["dataset"])
    ]
    if published:
        parts += ["published, FID by Inception, which compares with no other features:", aligned(published, text=3)]
    return "\n\n".join(parts)
