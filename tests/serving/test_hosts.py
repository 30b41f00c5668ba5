"""Calls by a name that a page on the web has given to loopback."""

import http.client
import json
import socket

import pytest

from fewstep.serving.application import Application
from fewstep.serving.hosts import KnownHosts, check_port, known_hosts
from fewstep.support.errors import InvalidInput


def ask(port, host):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/ping", headers={"host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.slow
def test_a_server_on_loopback_answers_to_its_own_names(start, caplog):
    port = start(KnownHosts(Application(lambda requests: []), known_hosts("127.0.0.1", ["me.example"])))
    for host in ("127.0.0.1", f"localhost:{port}", "LocalHost", "[::1]:80", "me.example:5001"):
        assert ask(port, host)[0] == 200, host
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil", "\xff", "[evil]"):
        status, said = ask(port, host)
        assert status == 403 and "--allowed-host" in json.loads(said)["message"], host
    assert not any(record.exc_info or "\n" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_on_loopback_other_names_are_refused(address):
    assert address in known_hosts(address)
    assert "evil.example" not in known_hosts(address)


def test_beyond_loopback_all_names_are_answered_unless_some_are_said():
    assert known_hosts("0.0.0.0") is None
    assert known_hosts("0.0.0.0", ["Me.example"]) >= {"me.example", "127.0.0.1"}


@pytest.mark.parametrize("name", ["https://me.example", "me.example:80", "", "a b", "*"])
def test_a_name_that_no_call_can_have_is_refused(name):
    with pytest.raises(InvalidInput, match="--allowed-host must be the name of a host, without http://"):
        known_hosts("127.0.0.1", [name])


def test_a_port_that_cannot_be_served_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"127.0.0.1:{port} cannot be served .another program listens there"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
    check_port("localhost", port)
    with pytest.raises(InvalidInput, match="nowhere.invalid:5001 cannot be served .*choose another --port or --host"):
        check_port("nowhere.invalid", 5001)
