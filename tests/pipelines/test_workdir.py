"""Working folders: one run at a time, and errors of the disk that say so."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import StorageError
from steps.workdir import work_folder, work_key


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_WORK", str(tmp_path / "work"))


def test_key_depends_on_each_part_and_on_where_one_ends() -> None:
    assert work_key("a", "b") == work_key("a", "b")
    assert len({work_key("a", "b"), work_key("ab"), work_key("b", "a"), work_key("a", "b", "")}) == 4


def test_a_second_run_in_the_same_folder_is_refused() -> None:
    with work_folder("one") as folder:
        assert folder.is_dir()
        with pytest.raises(StorageError, match="another run") as caught, work_folder("one"):
            pass
        assert f"process {os.getpid()}" in str(caught.value)
        with work_folder("two"):
            pass
    with work_folder("one"):
        pass


def test_a_killed_run_leaves_no_lock() -> None:
    program = (
        "import os, signal\nfrom steps.workdir import work_folder\nwith work_folder('one'): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), check=False)
    assert done.returncode == -9
    with work_folder("one"):
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written") as caught, work_folder("one"):
        pass
    assert os.strerror(code) in str(caught.value)
    assert "MOON_WORK" in str(caught.value)
