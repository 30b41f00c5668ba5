"""Who is champion, and what is told of it."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fewstep.evaluation.results import Score
from fewstep.models.model import SavedModel
from fewstep.registry import Exam, Rules, force, history, load_registered, promote, register, rollback
from fewstep.registry.champion_log import append, holders, move

NAME = "fewstep-digits"
CHAMPION = f"models:/{NAME}@champion"
RULES = Rules(first={"fid": 50.0}, kid_below=0)

pytestmark = pytest.mark.slow


def aliases(backend):
    return {alias: int(n) for alias, n in backend.client().get_registered_model(NAME).aliases.items()}


def tags(backend, number):
    return backend.client().get_model_version(NAME, str(number)).tags


def spread(row, middle):
    """A row with FIDs about a value."""
    return replace(row, scores=row.scores | {"fid_digits": Score((middle - 1, middle, middle + 1.5))})


@pytest.fixture
def full(scores):
    """Scores over three seeds, as registered or found by an exam."""

    def make(value, **changes):
        found = scores(value, seeds=[0, 1, 2], **changes)
        return replace(found, rows=tuple(spread(row, row.scores["fid_digits"].mean) for row in found.rows))

    return make


@pytest.fixture
def exam(full):
    """An exam that finds given values: a function of {sha256 of a model: value}; it remembers whom it examined."""

    def make(values=None, speeds=None):
        examined = []

        def scores(model, nfe):
            examined.append(model.sha256)
            return full(values[model.sha256])

        found = Exam(full(0.0).measurement, scores, lambda models, nfe: (speeds or [900.0] * 2)[: len(models)])
        return found, examined

    return make


def test_the_better_one_is_promoted_and_the_worse_one_refused(backend, finished_model, full, exam):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(26.0), backend)
    made = promote(backend, NAME, exam()[0], RULES)
    assert (made["version"], made["promoted"], made["against"]) == (2, True, 1)
    assert aliases(backend) == {"challenger": 2, "champion": 2, "previous": 1}
    register(finished_model(2), full(28.0), backend)
    refused = promote(backend, NAME, exam()[0], RULES)
    assert (refused["version"], refused["promoted"]) == (3, False)
    assert aliases(backend) == {"challenger": 3, "champion": 2, "previous": 1}
    assert "is not lower by more than the noise" in tags(backend, 3)["reason"]
    assert "the champion's fid_digits is 30.17" in tags(backend, 2)["reason"]
    assert tags(backend, 2)["provisional"] == "false"
    told = history(backend, NAME)
    assert [(entry["kind"], entry["from"], entry["to"]) for entry in told] == [("first", None, 1), ("promoted", 1, 2)]
    assert told[1]["why"] == made["reason"]
    assert all(entry["who"] and entry["when"].endswith("+00:00") for entry in told)
    assert register(finished_model(2), full(28.0), backend)["reason"] == refused["reason"]


def test_an_equal_or_slower_one_is_refused(backend, finished_model, full, exam):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(30.0), backend)
    assert not promote(backend, NAME, exam()[0], RULES)["promoted"]
    register(finished_model(2), full(20.0), backend)
    slow = promote(backend, NAME, exam(speeds=[100.0, 900.0])[0], RULES)
    assert "; images_per_second is 100, and at least 630 is asked" in slow["reason"]


def test_who_was_not_evaluated_in_full_is_evaluated_before_he_is_compared(backend, finished_model, scores, full, exam):
    first = register(finished_model(0), scores(20.0), backend)  # by chance, over one seed
    second = register(finished_model(1), full(26.0), backend)
    test, examined = exam({first["model_sha256"]: 30.0})
    assert promote(backend, NAME, test, RULES)["promoted"]
    assert examined == [first["model_sha256"]]
    third = register(finished_model(2), full(20.0, count=200), backend)
    test, examined = exam({third["model_sha256"]: 40.0})
    assert not promote(backend, NAME, test, RULES)["promoted"]
    assert examined == [third["model_sha256"]]
    assert not promote(backend, NAME, test, RULES, number=1)["promoted"]
    assert examined == [third["model_sha256"]]  # what was found is kept
    assert aliases(backend)["champion"] == second["version"]


def test_what_an_exam_found_is_on_the_card_with_its_interval(backend, finished_model, scores, exam):
    record = register(finished_model(0), scores(20.0), backend)

    def card():
        return backend.client().get_model_version(NAME, "1").description

    assert "| 1 | 1 | 20 | 0 |" in card() and "scores at 1, 2 NFE are provisional" in card()
    promote(backend, NAME, exam({record["model_sha256"]: 30.0})[0], RULES)
    assert "| 1 | 3 | 30.17 ± 3.1 | 0 ± 0 |" in card() and "| 2 | 1 | 19 | 0 |" in card()
    assert "scores at 2 NFE are provisional" in card()


def test_the_gate_looks_at_the_evaluations_that_it_names(backend, finished_model, full, exam):
    for seed, (once, twice) in enumerate([(30.0, 20.0), (20.0, 30.0)]):
        found = full(once)
        first, second, *others = found.rows
        found = replace(found, rows=(first, spread(second, twice), *others))
        register(finished_model(seed), found, backend)
    timed = []

    def speeds(models, nfe):
        timed.append(nfe)
        return [900.0] * len(models)

    test = Exam(exam()[0].measured, exam()[0].scores, speeds)
    refused = promote(backend, NAME, test, Rules(nfe=2, kid_below=0))
    assert not refused["promoted"] and "at 2 NFE" in refused["reason"] and timed == [2]
    assert promote(backend, NAME, test, RULES)["promoted"] and timed == [2, 1]


def test_a_provisional_champion_is_confirmed_or_stays_provisional(backend, finished_model, scores, exam):
    record = register(finished_model(0), scores(20.0), backend)
    bad = promote(backend, NAME, exam({record["model_sha256"]: 60.0})[0], RULES)
    assert (bad["promoted"], tags(backend, 1)["provisional"]) == (False, "true")
    assert "; fid_digits is 60.17, and at most 50 is asked" in tags(backend, 1)["reason"]
    assert aliases(backend)["champion"] == 1
    good = promote(backend, NAME, exam()[0], Rules(first={"fid": 70.0}, kid_below=0))
    assert (good["promoted"], tags(backend, 1)["provisional"]) == (True, "false")
    assert [entry["kind"] for entry in history(backend, NAME)] == ["first", "confirmed"]
    assert "previous" not in aliases(backend)
    assert promote(backend, NAME, exam()[0], RULES)["reason"] == "it is the champion"
    assert tags(backend, 1)["reason"] == good["reason"]


def test_other_data_are_not_compared(backend, finished_model, full, exam):
    register(finished_model(0), full(20.0), backend)
    test, _ = exam()
    test = replace(test, measured=replace(test.measured, data_sha256="f" * 64))
    assert (
        "the data hash of version 1 differs (dddddddddddddddd, not ffff"
        in promote(backend, NAME, test, RULES)["reason"]
    )


def test_rollback_swaps(backend, finished_model, full, exam):
    register(finished_model(0), full(30.0), backend)
    with pytest.raises(ValueError, match="has no previous"):
        rollback(backend, NAME)
    register(finished_model(1), full(20.0), backend)
    promote(backend, NAME, exam()[0], RULES)
    made = rollback(backend, NAME, "blurred eights")
    assert (made["from"], made["to"], made["why"]) == (2, 1, "blurred eights")
    assert aliases(backend) == {"challenger": 2, "champion": 1, "previous": 2}
    rollback(backend, NAME)
    assert aliases(backend) == {"challenger": 2, "champion": 2, "previous": 1}
    assert [entry["kind"] for entry in history(backend, NAME)] == ["first", "promoted", "rolled back", "rolled back"]


def test_after_a_champion_was_deleted_nobody_is_its_own_previous(backend, finished_model, full, exam):
    for seed, value in ((0, 30.0), (1, 20.0)):
        register(finished_model(seed), full(value), backend)
    promote(backend, NAME, exam()[0], RULES)
    client = backend.client()
    client.delete_registered_model_alias(NAME, "champion")
    client.delete_model_version(NAME, "2")
    assert rollback(backend, NAME)["to"] == 1
    assert aliases(backend) == {"champion": 1}
    with pytest.raises(ValueError, match="has no previous"):
        rollback(backend, NAME)


def test_a_version_that_nobody_measured_stays_provisional(backend, finished_model, full, scores, exam):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), scores(20.0), backend)
    there, _ = exam()
    there = replace(there, measured=replace(there.measured, data_sha256="a" * 64))
    found = promote(backend, NAME, there, RULES)
    assert not found["promoted"] and "not compared" in found["reason"]
    assert tags(backend, 2)["provisional"] == "true" and "not compared" in tags(backend, 2)["reason"]


def test_force_needs_a_reason_and_is_told(backend, finished_model, full):
    register(finished_model(0), full(20.0), backend)
    register(finished_model(1), full(30.0), backend)
    with pytest.raises(ValueError, match="needs a reason"):
        force(backend, NAME, 2, " ")
    with pytest.raises(ValueError, match="version 7, is not in the registry"):
        force(backend, NAME, 7, "why not")
    force(backend, NAME, 2, "the gate is blind to colour")
    assert aliases(backend)["champion"] == 2
    assert tags(backend, 2)["reason"].endswith("the gate is blind to colour")
    assert history(backend, NAME)[-1]["kind"] == "forced"


def test_a_forced_version_that_was_not_measured_in_full_is_so_later(backend, finished_model, full, scores, exam):
    register(finished_model(0), full(20.0), backend)
    record = register(finished_model(1), scores(30.0), backend)
    force(backend, NAME, 2, "the gate is blind to colour")
    assert tags(backend, 2)["provisional"] == "true"
    test, examined = exam({record["model_sha256"]: 30.0})
    assert promote(backend, NAME, test, RULES)["promoted"] and examined == [record["model_sha256"]]
    assert tags(backend, 2)["provisional"] == "false" and history(backend, NAME)[-1]["kind"] == "confirmed"


def test_a_long_reason_is_the_same_in_the_history_and_on_the_version(backend, finished_model, full):
    for seed in range(2):
        register(finished_model(seed), full(30.0 - seed), backend)
    made = force(backend, NAME, 2, "long" * 50_000)
    assert made["reason"] == history(backend, NAME)[-1]["why"] == "long" * 750
    assert tags(backend, 2)["reason"].endswith(f": {made['reason']}")


def files_of(backend, number):
    return Path(backend.client().get_model_version(NAME, str(number)).source) / "artifacts" / "model"


def ways_to_serve(backend):
    """Of version 2: each is to be refused."""
    from mlflow import pyfunc

    return [
        lambda: force(backend, NAME, 2, "I want it"),
        lambda: load_registered(f"models:/{NAME}/2", backend),
        lambda: pyfunc.load_model(str(files_of(backend, 2).parents[1])),
    ]


def test_what_is_missing_or_not_what_was_registered_is_neither_promoted_nor_served(backend, finished_model, full, exam):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(20.0), backend)
    for name in ("model.json", "model.safetensors"):  # a whole model, and another one
        shutil.copy(files_of(backend, 1) / name, files_of(backend, 2) / name)
    attempts = [lambda: promote(backend, NAME, exam()[0], RULES), *ways_to_serve(backend)]
    for attempt in attempts:
        with pytest.raises(Exception, match="are not the registered ones"):
            attempt()
    shutil.rmtree(files_of(backend, 2))
    for attempt in attempts[:3]:
        with pytest.raises(ValueError, match="version 2: its files cannot be fetched"):
            attempt()
    assert aliases(backend)["champion"] == 1


def test_the_same_weights_with_another_description_are_neither_promoted_nor_served(backend, finished_model, full):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(20.0), backend)
    model = SavedModel.open(files_of(backend, 2))
    model.at_levels({2: (77.0,)}).save(files_of(backend, 2))
    for attempt in ways_to_serve(backend):
        with pytest.raises(Exception, match="files are not the registered ones"):
            attempt()
    register(finished_model(1), full(20.0), backend)
    assert load_registered(f"models:/{NAME}/2", backend).spec.levels == {}, "the files are made again"


def test_a_folder_that_was_replaced_as_a_whole_is_not_served(backend, finished_model, full, monkeypatch):
    from mlflow.pyfunc import load_model

    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(20.0), backend)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    load_model(f"models:/{NAME}/2")
    shutil.copytree(files_of(backend, 1).parents[1], files_of(backend, 2).parents[1], dirs_exist_ok=True)
    with pytest.raises(Exception, match="version 2: its weights are not the registered ones"):
        load_model(f"models:/{NAME}/2")


def test_a_champion_without_files_is_not_compared(backend, finished_model, full, exam):
    register(finished_model(0), full(30.0), backend)
    register(finished_model(1), full(20.0), backend)
    shutil.rmtree(files_of(backend, 1))
    made = promote(backend, NAME, exam()[0], RULES)
    assert not made["promoted"]
    assert "the champion cannot be compared (fewstep-digits version 1: its files cannot be fetched" in made["reason"]
    force(backend, NAME, 2, "the champion is lost")
    assert aliases(backend)["champion"] == 2
    with pytest.raises(ValueError, match="cannot be fetched"):
        rollback(backend, NAME)


def test_a_deleted_champion_leaves_the_place_to_who_meets_the_thresholds(backend, finished_model, full, exam):
    register(finished_model(0), full(20.0), backend)
    register(finished_model(1), full(30.0), backend)
    backend.client().delete_model_version(NAME, "1")
    with pytest.raises(ValueError, match=r"@champion is not in the registry"):
        load_registered(CHAMPION, backend)
    assert "with no champion to beat" in promote(backend, NAME, exam()[0], RULES)["reason"]
    assert aliases(backend) == {"challenger": 2, "champion": 2}


def test_promotions_at_once_leave_one_champion_and_all_entries(backend, finished_model, full):
    for seed in range(4):
        register(finished_model(seed), full(30.0 - seed), backend)
    start = threading.Barrier(3)

    def promoting(number):
        client = backend.client()
        start.wait()
        move(client, NAME, "promoted", str(number), f"thread {number}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(promoting, (2, 3, 4)))
    told = history(backend, NAME)
    assert {entry["why"] for entry in told[1:]} == {"thread 2", "thread 3", "thread 4"}
    found = aliases(backend)
    assert found.pop("challenger") == 4
    assert found == holders(told)
    assert found["champion"] == told[-1]["to"]


def test_a_clock_that_is_behind_does_not_undo_a_move(backend, finished_model, full):
    for seed in range(2):
        register(finished_model(seed), full(30.0 - seed), backend)
    client = backend.client()
    ahead = f"move.{10**19:020d}.{'0' * 32}"
    (key,) = [key for key in client.get_registered_model(NAME).tags if key.startswith("move.")]
    client.set_registered_model_tag(NAME, ahead, client.get_registered_model(NAME).tags[key])
    append(client, NAME, {"kind": "promoted", "from": 1, "to": 2, "who": "me", "when": "now", "why": "later"})
    assert history(backend, NAME)[-1]["to"] == aliases(backend)["champion"] == 2


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (f"move.{10**19:020d}.{'0' * 32}", "junk"),
        (f"move.{10**19:020d}.{'0' * 32}", "[]"),
        (f"move.{10**19:020d}.{'0' * 32}", '{"to": "two"}'),
        ("move.junk", '{"kind": "promoted", "from": 1, "to": 2, "who": "me", "when": "now", "why": "later"}'),
    ],
)
def test_a_tag_that_is_no_move_is_left_out(backend, finished_model, full, caplog, key, text):
    for seed in range(2):
        register(finished_model(seed), full(30.0 - seed), backend)
    before = history(backend, NAME)
    backend.client().set_registered_model_tag(NAME, key, text)
    assert history(backend, NAME) == before and key in caplog.text
    force(backend, NAME, 2, "better eights")
    assert [entry["to"] for entry in history(backend, NAME)] == [1, 2] and aliases(backend)["champion"] == 2


class Overtaken:
    """A client that another one overtakes: before it writes its move, all of theirs is done."""

    def __init__(self, client, other):
        self.client, self.other = client, other

    def __getattr__(self, name):
        return getattr(self.client, name)

    def set_registered_model_tag(self, *entry):
        other, self.other = self.other, lambda: None
        other()
        self.client.set_registered_model_tag(*entry)


@pytest.mark.parametrize("number", [1, 2])
def test_a_move_that_was_overtaken_follows_on_the_one_that_overtook_it(backend, finished_model, full, number):
    """As on a server, where no lock keeps two clients apart. number: of moves that come between."""
    for seed in range(4):
        register(finished_model(seed), full(30.0 - seed), backend)

    def overtaking():
        for version in range(2, 2 + number):
            move(backend.client(), NAME, "promoted", str(version), "sooner")

    made = move(Overtaken(backend.client(), overtaking), NAME, "promoted", "4", "later")
    told = history(backend, NAME)
    assert sorted(entry["to"] for entry in told) == [*range(1, 2 + number), 4]
    assert [entry["from"] for entry in told] == [None, *(entry["to"] for entry in told[:-1])]
    assert made["from"] == told[told.index(made) - 1]["to"]
    found = aliases(backend)
    assert (found["champion"], found["previous"]) == (told[-1]["to"], told[-2]["to"])


def test_promotions_at_once_follow_on_each_other(backend, finished_model, full):
    for seed in range(4):
        register(finished_model(seed), full(30.0 - seed), backend)
    start = threading.Barrier(3)

    def forcing(number):
        start.wait()
        return force(backend, NAME, number, "at once")

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(forcing, (2, 3, 4)))
    told = history(backend, NAME)
    assert [entry["from"] for entry in told] == [None, *(entry["to"] for entry in told[:-1])]
    assert {(each["against"], each["version"]) for each in made} == {(e["from"], e["to"]) for e in told[1:]}
    assert {**aliases(backend), "challenger": 4} == {
        "challenger": 4,
        "champion": told[-1]["to"],
        "previous": told[-2]["to"],
    }


def test_a_champion_that_was_moved_while_it_was_examined_is_not_the_one_to_beat(backend, finished_model, full, exam):
    for seed in range(3):
        register(finished_model(seed), full(30.0 - 4 * seed), backend)
    test, _ = exam()
    overtaken = []

    def speeds(models, nfe):
        if not overtaken:
            overtaken.append(force(backend, NAME, 3, "meanwhile"))
        return [900.0] * len(models)

    made = promote(backend, NAME, Exam(test.measured, test.scores, speeds), RULES, number=2)
    assert (made["promoted"], made["against"]) == (False, 3)
    assert [entry["to"] for entry in history(backend, NAME)] == [1, 3]
