"""Processes that are ended: by a signal, and with the one that started them."""

import subprocess
import sys
import time
import uuid

LEAVING = """
import time
from fewstep.support.processes import ended_by_sigterm
try:
    with ended_by_sigterm():
        print("begun", flush=True)
        time.sleep(60)
except BaseException as end:
    print(type(end).__name__, end, flush=True)
    raise
"""


def test_sigterm_leaves_by_an_exception_and_with_its_own_code():
    process = subprocess.Popen([sys.executable, "-c", LEAVING], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    assert process.communicate(timeout=20)[0] == "SystemExit 143\n" and process.returncode == 143


STARTING = """
import subprocess, sys, time
from fewstep.support.processes import end_with_this_process
sleep = [sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]]
child = subprocess.Popen([*sleep, "agent"], start_new_session=True, stdout=subprocess.DEVNULL)
other = subprocess.Popen(sleep, start_new_session=True, stdout=subprocess.DEVNULL)
end_with_this_process(sys.argv[1], "agent")
print(child.pid, other.pid, flush=True)
time.sleep(60)
"""


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_to_end_with_a_process_that_is_killed_does_and_nothing_else():
    process = subprocess.Popen(
        [sys.executable, "-c", STARTING, f"session_{uuid.uuid4().hex}"], stdout=subprocess.PIPE, text=True
    )
    child, other = map(int, process.stdout.readline().split())
    assert lives(child)
    process.kill()
    process.communicate()
    until = time.monotonic() + 20
    while lives(child):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert lives(other)
    subprocess.run(["kill", str(other)], check=True)
