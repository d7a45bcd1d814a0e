"""A report served while its runs go on: to this machine alone, and from memory, so that no address leads to a file."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePosixPath
from socketserver import ThreadingTCPServer
from typing import Any

from crl.compare.places import places_of
from crl.config import ConfigError
from crl.diagnosis import FOLDER
from crl.exit_codes import DONE
from crl.report import PAGE
from crl.report.building import build, page
from crl.screen import concise_warnings, say

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # by which a browser here asks; by another one a page elsewhere would (DNS rebinding)
EVERY = 5.0  # seconds between two reports at least
SHARE = 10  # times as long as building one takes a core, which the runs need
PATIENCE = 30.0  # seconds that a connection may say nothing
PIECE = 1 << 16  # bytes that are sent at once
READ = ("config.yaml", "progress.csv", "evaluations.csv", "results.json", "command.txt")
TYPES = {
    ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".csv": "text/csv; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
}  # fmt: skip
HEADERS = {
    "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip


class Site:
    """The newest report, which is built when somebody asks, files have changed and the last one is old enough.

    Args:
        folders: of runs and of ablations.
        words: the command line.
        clock: in seconds.
    """

    def __init__(
        self, folders: Sequence[Path], words: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folders, self._words, self._clock = folders, words, clock
        self._lock = threading.Lock()
        self._seen: list[Any] | None = None
        self._next = clock()
        self._files: dict[str, bytes] = {}

    def file(self, name: str) -> bytes | None:
        """A file of the report, None where it has none of that name."""
        with self._lock:
            if self._clock() >= self._next:
                self._renew()
            return self._files.get(name)

    def _renew(self) -> None:
        began = time.thread_time()
        try:
            found = list(_seen(self._folders))
            if found != self._seen:
                with concise_warnings():
                    self._files = build(self._folders, self._words, png=False, live=True).files
            self._seen = found
        except (ConfigError, OSError) as error:  # such as a file that was moved away just now
            self._files = {PAGE: page("crl watch", [str(error)], live=True)}
            self._seen = None  # what is wrong, such as a link, need not be in a file that is read
        self._next = self._clock() + max(EVERY, SHARE * (time.thread_time() - began))


def _seen(folders: Sequence[Path]) -> Iterator[Any]:
    """What changes when something that is read has changed."""
    places, waiting = places_of(folders)
    yield waiting
    for place in places:
        for path in (*(place.folder / name for name in READ), place.folder / FOLDER):
            status = path.lstat() if path.exists() else None
            yield path, status and (status.st_mtime_ns, status.st_size)


class Server(ThreadingTCPServer):
    """Serves a report to this machine.

    Args:
        site: that is served.
        port: 0 for any that is free.
    """

    allow_reuse_address = os.name != "nt"  # there it would share the port with another program
    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what was wrong, unless a browser has gone, which it may whenever it likes."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; the base refuses all else."""

    server: Server
    timeout = PATIENCE
    server_version, sys_version = "crl", ""

    def do_GET(self) -> None:
        """Send a file of the report."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what `do_GET` says before the file."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in NAMES and self.headers.get("Host") not in NAMES:
            self._send(HTTPStatus.FORBIDDEN, b"crl watch serves this machine alone\n", ".tex", with_body)
            return
        name = self.path.partition("?")[0].removeprefix("/") or PAGE
        content = self.server.site.file(name)
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, b"the report has no such file\n", ".tex", with_body)
            return
        self._send(HTTPStatus.OK, content, PurePosixPath(name).suffix, with_body)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, with_body: bool) -> None:
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        same = status == HTTPStatus.OK and self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if same else status)
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.send_header("ETag", tag)
        if not same:
            self.send_header("Content-Type", TYPES[kind])
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body and not same:
            for start in range(0, len(content), PIECE):  # each in time, since all may take long through a tunnel
                self.wfile.write(content[start : start + PIECE])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is not for every request."""


def serve(folders: Sequence[Path], port: int) -> int:
    """Serve a report till Ctrl-C; the exit code.

    Args:
        folders: of runs and of ablations.
        port: of this machine; 0 for any that is free.

    Raises:
        ConfigError: the port is taken.
    """
    site = Site(folders, ["crl", "report", *map(str, folders)])
    try:
        server = Server(site, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--port {port} cannot be served ({why}); give another, or 0 for any that is free") from None
    with server:
        if threading.current_thread() is threading.main_thread():  # no other one may
            signal.signal(signal.SIGINT, signal.default_int_handler)
        say(f"http://{HOST}:{server.server_address[1]}/ shows the report, newer as runs go on; Ctrl-C ends this")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return DONE
    return DONE
