"""The numbers of each part are those of its version: a change that moves them is told which integer to raise."""

import json
import sys
from pathlib import Path

import pytest

from fewstep.objectives import objective_names
from fewstep.pipeline_registry import recipe_names
from fewstep.training.numerics import PARTS as COUNTED

sys.path.insert(0, str(Path(__file__).parent / "goldens"))

import numbers_of_parts as now
from golden import Golden
from write import golden_of


@pytest.mark.parametrize("part", now.PARTS)
def test_the_numbers_are_those_of_the_version(part):
    problem = golden_of(part).problem()
    assert problem is None, problem


def test_every_recipe_every_method_and_all_that_names_a_training_is_held():
    held = {name for specs in now.recipes_of_conf().values() for name in specs}
    files = [json.loads(golden_of(method).file.read_text())["recipes"] for method in objective_names()]
    assert held == {name for found in files for name in found} == {*recipe_names(), "teacher"}
    assert COUNTED.keys() <= set(now.PARTS)


@pytest.fixture
def made(tmp_path):
    """A golden file of a part, above another part, whose numbers and versions are ours to change."""
    facts = {"numbers": [1.0, 2.0], "more": {}, "versions": {"below": 1, "part": 1}}
    golden = Golden(
        "part",
        tmp_path,
        ["below", "part"],
        lambda part: facts["versions"][part],
        lambda part: f"src/fewstep/{part}.py: NUMERICS",
        lambda part, specs: {"loss": facts["numbers"], **facts["more"]},
        {},
    )
    assert "no golden file" in golden.problem()
    golden.write()
    assert golden.problem() is None and golden.write() == "part: nothing to write"
    return golden, facts


def test_numbers_that_move_ask_for_the_integer_and_name_the_command(made):
    golden, facts = made
    facts["numbers"] = [1.0, 2.0 + 1e-9]
    assert golden.problem() is None, "processors differ by as much"
    facts["numbers"] = [1.0, 2.0 + 1e-4]
    asked = r"The numbers of part moved \(loss\).*raise src/fewstep/part.py: NUMERICS to 2, then: .*write.py part"
    with pytest.raises(ValueError, match=asked):
        golden.write()
    facts["versions"]["part"] = 2
    assert golden.problem() == "The golden file of part is of older versions: python tests/goldens/write.py part"
    assert golden.write() == "part: written" and golden.problem() is None


def test_numbers_of_something_new_are_written_without_another_version(made):
    golden, facts = made
    facts["more"] = {"new": [3.0]}
    assert golden.problem() == "The golden file of part has no numbers of new: python tests/goldens/write.py part"
    assert golden.write() == "part: written" and golden.problem() is None
    facts["more"] = {}
    assert "numbers of part moved (new)" in golden.problem(), "what is held no more is a change"


def test_an_integer_raised_without_a_change_fails_and_writing_refuses(made):
    golden, facts = made
    facts["versions"]["part"] = 2
    with pytest.raises(ValueError, match=r"NUMERICS is 2, and the numbers are those of version 1: put it back"):
        golden.write()


@pytest.mark.parametrize("moves", [False, True])
def test_a_part_below_that_was_raised_explains_what_moved(made, moves):
    golden, facts = made
    facts["versions"]["below"] = 2
    facts["numbers"] = [1.0, 3.0 if moves else 2.0]
    assert "older versions" in golden.problem()
    assert golden.write() == "part: written" and golden.problem() is None


def test_a_method_that_computes_otherwise_is_found(monkeypatch):
    """The mechanism with the numbers of this project: a teacher's loss that is 1e-4 larger."""
    method = now.objective_class("denoising")
    call = method.__call__
    monkeypatch.setattr(method, "__call__", lambda *given: call(*given) * 1.0001)
    problem = golden_of("denoising").problem()
    assert "raise src/fewstep/objectives/denoising.py: Denoising.numerics to 2" in problem
    monkeypatch.undo()
    monkeypatch.setattr(method, "numerics", 2)
    assert "Denoising.numerics is 2" in golden_of("denoising").problem()
