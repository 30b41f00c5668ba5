"""How the features' modules import each other, and the command that makes the shipped extractor."""

import ast
import json
from graphlib import TopologicalSorter
from pathlib import Path

from fewstep.evaluation import features
from fewstep.evaluation.features import __main__ as command
from fewstep.evaluation.features.sources import SHIPPED

HERE = Path(features.__file__).parent


def test_imports_go_one_way_even_those_inside_functions():
    needs = {
        file.stem: {
            node.module.rpartition(".")[2]
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{features.__name__}.")
        }
        for file in HERE.glob("*.py")
    }
    order = list(TopologicalSorter(needs).static_order())  # CycleError where there is a ring
    assert order.index("extractor") < order.index("classifier_files") < order.index("sources") < order.index("choice")


def test_the_shipped_extractor_names_the_command_that_makes_it():
    said = json.loads((SHIPPED / "digits.json").read_text())["command"]
    assert said == f"python -m {command.__name__.removesuffix('.__main__')} digits 0"
    assert said.removesuffix(" 0") in command.__doc__
