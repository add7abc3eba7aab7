"""Ports, tags and children: what stops a start, and that nothing survives its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import launch
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.errors import ServingError
from serving.launch import check_port, free_port, running_bento, serve_bento

TAG = "moon:1-abc"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a Bento that nothing can serve."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    folder = tmp_path / "bentos" / "moon" / "1-abc" / "src" / "bundle"
    folder.mkdir(parents=True)
    (tmp_path / "bentos" / "moon" / "1-abc" / "bento.yaml").write_text("")
    Bundle(folder, "1", ServingConfig(start_timeout_s=10)).write_manifest()
    return tmp_path


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_free_port_passes() -> None:
    check_port("127.0.0.1", free_port())


def test_a_port_in_use_is_told_with_the_way_out(store: Path, busy_port: int) -> None:
    with pytest.raises(ServingError, match="cannot listen on this port") as caught:
        check_port("127.0.0.1", busy_port)
    assert str(busy_port) in caught.value.where
    assert "--port" in caught.value.fix
    with pytest.raises(ServingError, match="cannot listen"):
        serve_bento(TAG, port=busy_port)
    with pytest.raises(ServingError, match="cannot listen"), running_bento(TAG, port=busy_port):
        pass


@pytest.mark.parametrize("tag", ["moon:nothing", "moon", "other:1-abc"])
def test_an_unknown_tag_is_refused(store: Path, tag: str) -> None:
    with pytest.raises(ServingError, match="no such Bento"), running_bento(tag):
        pass


def fake_server(monkeypatch: pytest.MonkeyPatch, code: str) -> list[subprocess.Popen[bytes]]:
    """Let the child run `code` instead of BentoML; the port is its last argument."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        process = real([sys.executable, "-c", code, command[-1]], **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    return started


READY = """
import http.server, subprocess, sys
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(child.pid).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_the_whole_group_ends_with_the_block(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "STOP_TIMEOUT_S", 1.0)
    started = fake_server(monkeypatch, READY)
    with pytest.raises(ZeroDivisionError), running_bento(TAG):
        raise ZeroDivisionError
    assert started[0].poll() is not None
    # The grandchild ignores SIGTERM: it must have been killed. It is reaped by whoever inherits it.
    deadline = time.monotonic() + 10
    while _alive(started[0].pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(started[0].pid)


def _alive(group: int) -> bool:
    """Whether any process of the group runs; one that has ended and was not reaped yet does not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def test_a_server_that_dies_shows_its_log(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server(monkeypatch, "print('the model is gone'); raise SystemExit(3)")
    with pytest.raises(ServingError, match="exit status 3") as caught, running_bento(TAG):
        pass
    assert "the model is gone" in caught.value.got


def test_a_server_that_never_gets_ready_is_ended(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = fake_server(monkeypatch, "import time; print('still loading', flush=True); time.sleep(60)")
    with pytest.raises(ServingError, match="not ready in time") as caught, running_bento(TAG, timeout_s=1.0):
        pass
    assert "still loading" in caught.value.got
    assert started[0].poll() == -signal.SIGTERM


def test_foreground_returns_the_servers_status(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server(monkeypatch, "raise SystemExit(5)")
    assert serve_bento(TAG, port=free_port()) == 5


@pytest.mark.parametrize(("sent", "status"), [("SIGTERM", 0), ("SIGINT", 0), ("SIGKILL", 128 + signal.SIGKILL)])
def test_a_server_that_was_killed_has_not_ended_well(
    store: Path, monkeypatch: pytest.MonkeyPatch, sent: str, status: int
) -> None:
    code = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.{sent})"
    fake_server(monkeypatch, code)
    assert serve_bento(TAG, port=free_port()) == status


def test_the_child_is_told_not_to_track(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK", raising=False)
    assert launch.bento_environment()["BENTOML_DO_NOT_TRACK"] == "True"
    assert "BENTOML_DO_NOT_TRACK" not in os.environ
