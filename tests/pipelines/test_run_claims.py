"""Two commands at once on one data set."""

import re

import pytest

from fewstep.data.store import ArrayStore

INGEST = ("kedro", "run", "--env=test", "--pipelines=ingest")


@pytest.mark.slow
def test_two_ingests_at_once_leave_one_whole_store(project):
    runs = [project.start(*INGEST) for _ in range(2)]
    said = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    ArrayStore.open(project.root / "data/02_intermediate/test/images").verify(in_full=True)
    assert not project.glob("runs/test/.*") and not project.glob("data/02_intermediate/test/.*partial*")


@pytest.mark.slow
def test_what_a_run_uses_is_not_replaced_under_it(project):
    """The other run claims all that it reads before it does anything, and fails for want of data afterwards."""
    from fewstep.support.claims import claimed

    place = "data/02_intermediate/test/images"
    with claimed(project.root / "runs/test/locks" / place.replace("/", "-"), place, alone=False):
        code, said = project.run(*INGEST)
    assert code == 1 and re.search(rf"Error: process \d+ on .* is using {place}, which is to be made here", said)
    assert not project.glob("data/02_intermediate/test/images")
