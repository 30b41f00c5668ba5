"""compare: images, extractor, teacher -> contestants, contests, leaderboard and its pictures."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from fewstep.pipelines.compare.nodes import (
    CONTEST,
    CONTESTANT,
    rank,
    score_contestant,
    score_reference,
    train_contestant,
)

BOARD = ["leaderboard", "leaderboard_ladder", "leaderboard_cost", "leaderboard_sheet"]


def create_pipeline(recipes: Iterable[str]) -> Pipeline:
    """Images, extractor, teacher -> contestants, contests, leaderboard and its pictures; two nodes for each recipe."""
    recipes, settings = list(recipes), "params:comparison"
    ranked = ["images", "teacher", "reference_contest", *(r + end for end in (CONTEST, CONTESTANT) for r in recipes)]
    judged = ["images", "extractor", "teacher", settings]
    nodes = [
        Node(score_reference, judged, "reference_contest", name="score_reference"),
        Node(rank, {name: name for name in ranked}, BOARD, name="rank"),
    ]
    for recipe in recipes:
        given = ["images", "latents", "teacher", f"params:students.{recipe}", settings, "workplace"]
        nodes.append(Node(train_contestant, given, recipe + CONTESTANT, name=f"train_{recipe}"))
        judged = ["images", "extractor", recipe + CONTESTANT, settings, "workplace"]
        nodes.append(Node(score_contestant, judged, recipe + CONTEST, name=f"score_{recipe}"))
    return Pipeline(nodes)
