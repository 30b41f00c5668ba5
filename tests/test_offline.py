"""The journey makes no attempt to reach beyond the machine, and needs nothing from there."""

import ipaddress
import os
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest

WATCH = Path(__file__).parent / "offline"
JOURNEY = ("kedro", "run", "--env=test")
STUDENT = "--model=models:/fewstep-test@champion"
SAMPLE = ("fewstep", "sample", "samples.png", "--n=4", STUDENT)
EDIT = ("fewstep", "edit", "interpolate", "--nfe=1", STUDENT)
REPORT = ("kedro", "run", "--env=test", "--pipelines=report")
PAGES = ("samples.png", "edited/sheet.png", "data/08_reporting/test/cd/report.html")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "more"), [(0, []), pytest.param(1, [SAMPLE, EDIT, REPORT], marks=pytest.mark.check)]
)
def test_the_journey_and_what_follows_stay_on_the_machine(workers, more, project, cut_off, tmp_path):
    log = tmp_path / "attempts"

    def watched(*words: str) -> str:
        code, output = project.run(
            *words,
            wrapper=cut_off,
            PYTHONPATH=f"{WATCH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            ATTEMPTS=str(log),
        )
        assert code == 0, output
        seen = log.read_text().splitlines()
        assert "watching" in seen, "the watch was not there"
        assert [line for line in seen if line != "watching"] == []
        log.write_text("")
        return output

    assert "champion" in watched(*JOURNEY, f"--params=launch.workers={workers},launch.threads=1")
    for words in more:
        watched(*words)
    assert [(project.root / page).exists() for page in PAGES[: len(more)]] == [True] * len(more)


STRACE = "strace -f -y --seccomp-bpf -qq -e signal=none -e trace=connect,bind,listen,sendto,sendmsg,sendmmsg -o"
CALL = re.compile(r"^\d+ +(\w+)\(\d+<\w+:\[(\d+)\]>(.*)")
ADDRESS = re.compile(r"(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\"")


def beyond_loopback(trace: Path) -> dict[str, list[str]]:
    """{system call: addresses beyond loopback that it was given} in what strace wrote; of listen those bound before."""
    found, bound = defaultdict(list), {}
    for line in trace.read_text(errors="replace").splitlines():
        if call := CALL.match(line):
            name, socket, words = call.groups()
            address = ADDRESS.search(words)
            if name == "bind" and address:
                bound[socket] = address[1]
            given = bound.get(socket) if name == "listen" else address and address[1]
            if given:
                found[name].append(given)
    assert found["connect"] and found["listen"], "the trace has no address at all"
    return {name: [each for each in given if not is_loopback(each)] for name, given in found.items()}


def is_loopback(address: str) -> bool:
    known = ipaddress.ip_address(address)
    return (getattr(known, "ipv4_mapped", None) or known).is_loopback


@pytest.mark.check
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed: it watches system calls")
def test_no_system_call_of_two_workers_goes_beyond_the_machine(project, tmp_path):
    trace = tmp_path / "trace"
    words = (*JOURNEY, "--pipelines=ingest,teacher", "--params=launch.workers=2,launch.threads=1")
    code, output = project.run(*words, wrapper=(*STRACE.split(), str(trace)))
    assert code == 0, output
    assert not any(beyond_loopback(trace).values()), beyond_loopback(trace)


def test_the_watch_sees_an_attempt(tmp_path):
    import subprocess

    log = tmp_path / "attempts"
    code = "import urllib.request as u\ntry: u.urlopen('http://example.invalid')\nexcept OSError as error: print(error)"
    environment = {**os.environ, "PYTHONPATH": str(WATCH), "ATTEMPTS": str(log)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "cut off" in done.stdout and "example.invalid" in log.read_text()


def test_telemetry_of_vendors_is_off_unless_the_user_says_otherwise(project):
    code = "import fewstep, os; print(*(os.environ[n] for n in {}))".format(
        ["DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED"]
    )
    import subprocess

    clean = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and k not in ("DO_NOT_TRACK",)}
    clean["RAY_USAGE_STATS_ENABLED"] = "1"
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "true", "1"]
    assert "consent: false" in (project.root / ".telemetry").read_text()
    assert "analytics = false" in (project.ORIGIN / ".dvc" / "config").read_text()
