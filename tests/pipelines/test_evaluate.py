"""The scores of a project: of one seed for every day, of three with --params=evaluation.full=true."""

import pytest

from fewstep.data import ingest
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.launch import LaunchSettings
from fewstep.pipelines.evaluate.nodes import score_models
from fewstep.pipelines.workplace import Workplace

FEW = {"count": 20, "student_nfe": [1, 2], "teacher_nfe": {"heun": None, "euler": [1]}}


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return ingest({"name": "moons", "count": 200}, tmp_path_factory.mktemp("data") / "moons")


@pytest.fixture
def untrained(points, draw_model, tmp_path):
    """A model: a function of its name, its preconditioner and its teacher's hash."""

    def make(name, kind, teacher_sha256=None):
        network = {"name": "mlp", "channels": 8, "num_blocks": 1}
        facts = {"name": name, "network": network, "preconditioning": {"name": kind}}
        facts |= {"levels": {"2": [3.0]}, "provenance": {"teacher_sha256": teacher_sha256}} if kind != "edm" else {}
        return draw_model(facts, points.space).save(tmp_path / name)

    return make


@pytest.fixture
def workplace(backend, tmp_path):
    return Workplace(tmp_path / "runs", backend, "moons", LaunchSettings(workers=0), fresh=False)


@pytest.mark.parametrize(("given", "seeds", "provisional"), [({}, [0], True), ({"full": True}, [0, 1, 2], False)])
def test_a_full_evaluation_has_three_seeds_and_is_not_provisional(
    given, seeds, provisional, points, untrained, workplace, typed_parameters, capsys
):
    teacher = untrained("teacher", "edm")
    models = teacher, untrained("cd", "consistency", teacher.sha256)
    evaluation = typed_parameters("moons", evaluation=given | FEW).evaluation
    scores, metrics, levels, *_ = score_models(points, None, *models, evaluation, workplace)
    assert {row.model for row in scores.rows} == {"cd", "teacher"} == scores.models.keys()
    assert levels == StudentLevels.of_recipe(models[1]) and levels.levels == {2: (3.0,)}
    assert (list(scores.measurement.seeds), scores.measurement.provisional) == (seeds, provisional)
    assert all(len(score.values) == len(seeds) for row in scores.rows for score in row.scores.values())
    assert ("provisional" in capsys.readouterr().out) == provisional and metrics["cd"]


def test_a_student_of_data_alone_is_scored_alone_and_a_line_says_so(
    points, untrained, workplace, typed_parameters, capsys
):
    student, evaluation = untrained("ict", "consistency"), typed_parameters("moons", evaluation=FEW).evaluation
    scores, metrics, *_ = score_models(points, None, untrained("teacher", "edm"), student, evaluation, workplace)
    assert {row.model for row in scores.rows} == metrics.keys() == {"ict"}
    assert scores.models == {"ict": student.sha256}
    assert "ict learned from data alone: no teacher is shown beside it." in capsys.readouterr().out


def test_searched_levels_are_an_output_and_runs_keeps_only_the_search(points, untrained, workplace, typed_parameters):
    student = untrained("ict", "consistency")
    evaluation = typed_parameters("moons", evaluation=FEW | {"levels": "search", "search_count": 10}).evaluation
    given = points, None, None, student, evaluation, workplace
    scores, _, levels, *_ = score_models(*given)
    assert levels.searched and levels.model_sha256 == student.sha256
    scored = next(row.levels for row in scores.rows if row.nfe == 2)
    assert tuple(scored[1:]) == levels.levels[2] == levels.at(student).spec.levels[2]
    assert (workplace.run_folder(student) / "search.json").exists()
    assert StudentLevels.from_json(levels.to_json()) == levels
