"""Starting a Bento: in the foreground for a person, as a guarded child process for parity and tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx

from serving.bundle import Bundle
from serving.errors import ServingError
from serving.packaging import bento_environment, bento_path

POLL_S = 0.1
STOP_TIMEOUT_S = 10.0
LOG_TAIL_LINES = 25


def serve_bento(tag: str, *, host: str | None = None, port: int | None = None) -> int:
    """Serve the Bento in the foreground until it is told to stop.

    Args:
        tag: `moon:VERSION`, in the local store.
        host: Address to listen on; the Bento's configuration when absent.
        port: Port to listen on; likewise.

    Returns:
        The server's exit status; 0 after Ctrl-C or SIGTERM, 128 + N when another signal N ended it.

    Raises:
        ServingError: No such Bento, or the port is in use.
    """
    config = bento_bundle(tag).config
    host, port = host or config.host, port or config.port
    check_port(host, port)
    with _child(tag, host, port, log=None) as process:
        previous = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
        try:
            status = process.wait()
        except KeyboardInterrupt:
            status = 0
        finally:
            signal.signal(signal.SIGTERM, previous)
    if status in (-signal.SIGTERM, -signal.SIGINT):
        return 0
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def running_bento(tag: str, *, port: int | None = None, timeout_s: float | None = None) -> Iterator[str]:
    """Serve the Bento while the block runs.

    Args:
        tag: `moon:VERSION`, in the local store.
        port: A free one when absent.
        timeout_s: How long the start may take; the Bento's configuration when absent.

    Yields:
        The server's address, `http://127.0.0.1:PORT`, once it is ready.

    Raises:
        ServingError: No such Bento, the port is in use, or the server ended or was not ready in time; then the end
            of its log is in the message.
    """
    config = bento_bundle(tag).config
    host = "127.0.0.1"
    port = port or free_port(host)
    check_port(host, port)
    url = f"http://{host}:{port}"
    with tempfile.TemporaryFile() as log, _child(tag, host, port, log=log) as process:
        _wait_until_ready(process, url, timeout_s or config.start_timeout_s, log, tag)
        yield url


def bento_bundle(tag: str) -> Bundle:
    """The bundle inside a Bento of the local store.

    Raises:
        ServingError: No such Bento.
    """
    path = bento_path(tag)
    if ":" not in tag or not (path / "bento.yaml").is_file():
        raise ServingError(
            "no such Bento", where=tag, fix="python -m bentoml list shows what there is; training builds one"
        )
    return Bundle.read(path / "src" / "bundle")


def check_port(host: str, port: int) -> None:
    """Fail now, with the way out, instead of in the log of a server that dies.

    Raises:
        ServingError: Something listens on the port, or the address is not this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server does: connections that linger from the last one do not count as "in use".
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServingError(
                "cannot listen on this port",
                where=f"{host}:{port}",
                got=error.strerror or str(error),
                fix=f"stop what uses it, or choose another: --port {port + 1 if port < 65535 else port - 1}",
            ) from None


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _child(tag: str, host: str, port: int, log: IO[bytes] | None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", host, "--port", str(port)]
    process = subprocess.Popen(
        command,
        env=bento_environment(),
        cwd=Path(tempfile.gettempdir()),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        # A group of its own: the server starts workers, and all of them must end with it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        if not _group_lives(process.pid):
            return
    process.wait(timeout=STOP_TIMEOUT_S)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, timeout_s: float, log: IO[bytes], tag: str) -> None:
    deadline = time.monotonic() + timeout_s
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServingError(
                    "the server ended while it started",
                    where=tag,
                    got=f"exit status {process.returncode}\n{_tail(log)}",
                )
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/readyz").status_code == httpx.codes.OK:
                    return
            time.sleep(POLL_S)
    raise ServingError(
        "the server was not ready in time", where=tag, got=_tail(log), allowed=f"{timeout_s:g} s to start"
    )


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
