"""compare: images, extractor, teacher -> contestants, contests, leaderboard and its pictures."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.compare.nodes import rank, score_contestant, score_reference, train_contestant
from fewstep.pipelines.training import RECORDS, WORKPLACE

BOARD = ["leaderboard", "leaderboard_ladder", "leaderboard_cost", "leaderboard_sheet"]


def create_pipeline(recipes: Iterable[str]) -> Pipeline:
    """Images, extractor, teacher -> contestants, contests, leaderboard and its pictures; two nodes for each recipe."""
    recipes, settings = list(recipes), "params:comparison"
    nodes = [
        Node(
            score_reference, ["images", "extractor", "teacher", settings], "reference_contest", name="score_reference"
        ),
        Node(
            rank,
            ["images", "teacher", "reference_contest", *_all(recipes, "contest"), *_all(recipes, "contestant")],
            BOARD,
            name="rank",
        ),
    ]
    for recipe in recipes:
        given = ["images", "teacher", f"params:students.{recipe}", settings, *WORKPLACE]
        nodes.append(Node(train_contestant, given, f"{recipe}_contestant", name=f"train_{recipe}"))
        judged = ["images", "extractor", f"{recipe}_contestant", settings, *RECORDS]
        nodes.append(Node(score_contestant, judged, f"{recipe}_contest", name=f"score_{recipe}"))
    return Pipeline(nodes)


def _all(recipes: list[str], kind: str) -> list[str]:
    return [f"{recipe}_{kind}" for recipe in recipes]
