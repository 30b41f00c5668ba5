"""What a run tells of its way."""

import pytest

from fewstep import console


@pytest.fixture
def clock(monkeypatch):
    """Seconds, as long as nobody sets others: [now]."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def told(clock, capsys, *reports: tuple[float, int]) -> list[str]:
    """Lines about reports of (seconds, done of 100)."""
    tell = console.Lines("cd")
    for clock[0], done in reports:
        tell(done, 100, "loss 1")
    return capsys.readouterr().out.splitlines()


def test_a_line_each_tenth_or_half_a_minute_and_one_at_the_end(clock, capsys):
    lines = told(clock, capsys, (101, 0), (102, 5), (103, 12), (104, 15), (140, 16), (150, 100), (151, 100))
    assert lines == ["cd:  12%, 15 s left, loss 1", "cd:  16%, 205 s left, loss 1", "cd: 100%, 0 s left, loss 1"]


def test_a_run_that_is_taken_up_does_not_count_what_was_done_before(clock, capsys):
    lines = told(clock, capsys, (101, 60), (111, 70), (141, 100))
    assert lines == ["cd:  60%, loss 1", "cd:  70%, 30 s left, loss 1", "cd: 100%, 0 s left, loss 1"]
