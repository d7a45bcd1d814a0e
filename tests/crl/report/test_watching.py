"""`crl watch`: who is answered, what with, and when the page is made anew."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Process
from reported_runs import reported_run

from crl.config import ConfigError
from crl.report import watching
from crl.report.building import Built
from crl.report.watching import Server, Site


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a report was built; each is its number."""
    times: list[int] = []

    def build(*_: object, **__: object) -> Built:
        times.append(len(times) + 1)
        return Built({"index.html": f"report {len(times)}".encode(), "a.svg": b"<svg/>"}, [])

    monkeypatch.setattr(watching, "build", build)
    return times


def test_a_report_is_built_when_files_have_changed_and_that_is_due(tmp_path: Path, built: list[int]) -> None:
    run, clock = reported_run(tmp_path, 1), Clock()
    site = Site([run], ["crl"], clock)
    assert built == []  # nobody has asked
    assert site.file("index.html") == b"report 1"
    with (run / "progress.csv").open("a") as file:
        file.write("150,0,1.0,1,0.3\n")
    clock.now = watching.EVERY - 1
    assert site.file("index.html") == b"report 1"
    clock.now = watching.EVERY
    assert site.file("index.html") == b"report 2"
    clock.now = 1000.0
    assert site.file("index.html") == b"report 2"  # nothing has changed
    (run / "config.yaml").rename(run / "away.yaml")
    clock.now = 2000.0
    page = site.file("index.html")
    assert page is not None
    assert b"is neither a run nor an ablation" in page
    (run / "away.yaml").rename(run / "config.yaml")
    clock.now = 3000.0
    assert site.file("index.html") == b"report 3"


def test_what_was_refused_is_looked_at_again(tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    site, build = Site([reported_run(tmp_path, 1)], ["crl"], clock), watching.build

    def refusing(*_: object, **__: object) -> Built:
        raise ConfigError("something in it is a link")

    monkeypatch.setattr(watching, "build", refusing)
    page = site.file("index.html")
    assert page is not None
    assert b"something in it is a link" in page
    monkeypatch.setattr(watching, "build", build)
    clock.now = 1000.0  # no file that is read has changed
    assert site.file("index.html") == b"report 1"


def test_a_fault_is_told(port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(*_: object, **__: object) -> Built:
        raise KeyError("a fault")

    monkeypatch.setattr(watching, "build", failing)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(port)
    assert "KeyError: 'a fault'" in capsys.readouterr().err


def test_a_large_page_arrives_whole(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * (5 * watching.PIECE // 256) + b"x"
    monkeypatch.setattr(watching, "build", lambda *_, **__: Built({"index.html": content}, []))
    assert ask(port)[2] == content


@pytest.fixture
def port(tmp_path: Path, built: list[int]) -> Iterator[int]:
    with Server(Site([reported_run(tmp_path, 1)], ["crl"]), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_and_its_files_alone_are_served(port: int) -> None:
    status, headers, body = ask(port)
    assert (status, body, headers["Content-Type"]) == (200, b"report 1", "text/html; charset=utf-8")
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-cache")
    assert "Python" not in headers["Server"]
    assert ask(port, path="/a.svg?x")[::2] == (200, b"<svg/>")
    assert ask(port, "HEAD")[::2] == (200, b"")
    assert ask(port, If_None_Match=headers["ETag"])[::2] == (304, b"")
    for path in ("/config.yaml", "/../plain1/config.yaml", "/%2e%2e/plain1/config.yaml", "//etc/passwd", "/etc/passwd"):
        assert ask(port, path=path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(port, method)[0] == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:6007", 200), ("evil.example:6007", 403), ("evil.example", 403), ("", 403),
        ("localhost.evil.example", 403), ("127.0.0.1.evil.example:80", 403),
    ],
)  # fmt: skip
def test_a_page_elsewhere_gets_nothing(port: int, host: str, status: int) -> None:
    assert ask(port, Host=host)[0] == status


def test_a_silent_connection_holds_nobody_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port)[0] == 200


def test_the_command(tmp_path: Path) -> None:
    run = reported_run(tmp_path, 1)
    process = Process("watch", run.name, "--port", "0", cwd=tmp_path)
    process.until(lambda: "Ctrl-C ends this" in process.printed())
    port = int(process.printed().split("127.0.0.1:")[1].partition("/")[0])
    other = Process("watch", run.name, "--port", str(port), cwd=tmp_path, name="other")
    status, _, body = ask(port)
    assert status == 200
    assert re.search(rb'data-live="[0-9a-f]{32}"', body)
    assert b"Learning curves" in body
    assert other.wait() == 2
    assert other.errors().startswith(f"crl: --port {port} cannot be served (Address already in use); give another")
    process.send(signal.SIGINT)
    assert (process.wait(), process.errors()) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["plain1"]
