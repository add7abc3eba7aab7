"""Weights from the hub and the names they go by: a commit pins them, and nothing is fetched unasked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling
from safetensors.torch import save_file

from catalog import ModelError
from models.weights import check_manifest, fetch_weights, find_source, hub, weights_folder
from models.weights import fetch as fetching
from models.weights import known as known_weights
from models.weights.folder import CONFIG, TOKENIZER, WEIGHTS
from models.weights.known import HubSource, WheelSource
from models.weights.manifest import file_sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QWEN3_VL = '{"model_type": "qwen3_vl"}'
QWEN3_VL_BLOB = "4e8b90e9c2013767369028aab862ec54ddf9ce63"
EMPTY_OBJECT_BLOB = "9e26dfeeb6e641a33dae4961196235bdb965b21b"
"""What `git hash-object` says of a file with that text, and of one with `{}`."""

pytestmark = pytest.mark.usefixtures("root")


class _Hub:
    """Stands for huggingface_hub: counts, and serves one small model."""

    def __init__(self, data: bytes = b"", promised: str | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.data, self.promised = data, promised
        self.config = QWEN3_VL

    def snapshot_download(self, repo_id: str, **asked: Any) -> str:
        self.calls.append({"repo_id": repo_id} | asked)
        into = Path(asked["local_dir"])
        (into / ".cache").mkdir(exist_ok=True)
        (into / CONFIG).write_text(self.config)
        (into / TOKENIZER).write_text("{}")
        (into / WEIGHTS).write_bytes(self.data)
        return str(into)

    def model_info(self, repo_id: str, **_: Any) -> Any:
        # In LFS git's id is that of the pointer.
        siblings = [
            RepoSibling(CONFIG, blob_id=QWEN3_VL_BLOB, lfs=None),
            RepoSibling(WEIGHTS, blob_id="0" * 40, lfs=BlobLfsInfo(len(self.data), str(self.promised), 134)),
            RepoSibling(TOKENIZER, blob_id=EMPTY_OBJECT_BLOB, lfs=None),
            RepoSibling("pytorch_model.bin", blob_id="1" * 40, lfs=None),
        ]
        return SimpleNamespace(siblings=siblings)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Hub:
    import huggingface_hub

    save_file({"a": torch.zeros(2)}, tmp_path / "one.safetensors")
    made = _Hub((tmp_path / "one.safetensors").read_bytes(), file_sha256(tmp_path / "one.safetensors"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    return made


def test_a_snapshot_of_the_hub_is_taken_at_its_commit(fake_hub: _Hub, root: Path) -> None:
    place = fetch_weights("qwen3-vl-2b")
    assert [call["repo_id"] for call in fake_hub.calls] == ["Qwen/Qwen3-VL-2B-Instruct"]
    assert fake_hub.calls[0]["revision"] == "89644892e4d85e24eaac8bacfd4f463576704203"
    allowed = fake_hub.calls[0]["allow_patterns"]
    assert not [pattern for pattern in allowed if pattern.endswith((".py", ".bin", ".pth", ".pt"))]
    assert set(check_manifest(place)["files"]) == {CONFIG, TOKENIZER, WEIGHTS}
    assert weights_folder("qwen3-vl-2b") == place


def test_bytes_other_than_the_hub_promised_are_thrown_away(fake_hub: _Hub, root: Path) -> None:
    fake_hub.promised = "0" * 64
    with pytest.raises(ModelError, match="did not arrive whole") as caught:
        fetch_weights("qwen3-vl-2b")
    assert caught.value.got == WEIGHTS
    assert not list(root.rglob(WEIGHTS))
    assert not (root / "qwen3-vl-2b").exists()


def test_a_small_file_with_one_byte_changed_is_thrown_away_too(fake_hub: _Hub, root: Path) -> None:
    fake_hub.config = QWEN3_VL.replace("qwen3_vl", "qwen3_vL")
    with pytest.raises(ModelError, match="did not arrive whole") as caught:
        fetch_weights("qwen3-vl-2b")
    assert caught.value.got == CONFIG
    assert not list(root.rglob(CONFIG))
    assert not (root / "qwen3-vl-2b").exists()
    # The large one was right, and is still there for the next try.
    assert len(list(root.rglob(WEIGHTS))) == 1
    fake_hub.config = QWEN3_VL
    fetch_weights("qwen3-vl-2b")


def test_a_file_that_the_hub_does_not_list_is_thrown_away(
    fake_hub: _Hub, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake_hub.snapshot_download

    def more(repo_id: str, **asked: Any) -> str:
        (Path(asked["local_dir"]) / "extra.json").write_text("{}")
        return whole(repo_id, **asked)

    monkeypatch.setattr("huggingface_hub.snapshot_download", more)
    with pytest.raises(ModelError, match="did not arrive whole") as caught:
        fetch_weights("qwen3-vl-2b")
    assert caught.value.got == "extra.json"


def test_an_interrupted_snapshot_goes_on_where_it_stopped(
    fake_hub: _Hub, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake_hub.snapshot_download

    def cut(repo_id: str, **asked: Any) -> str:
        whole(repo_id, **asked)
        raise OSError("connection lost")

    monkeypatch.setattr("huggingface_hub.snapshot_download", cut)
    with pytest.raises(ModelError, match="cannot be fetched from the hub") as caught:
        fetch_weights("qwen3-vl-2b")
    assert "connection lost" in caught.value.got
    assert "--from FOLDER" in caught.value.fix
    assert not (root / "qwen3-vl-2b").exists()
    first = fake_hub.calls[0]["local_dir"]
    assert (first / WEIGHTS).is_file()
    monkeypatch.setattr("huggingface_hub.snapshot_download", whole)
    fetch_weights("qwen3-vl-2b")
    assert fake_hub.calls[1]["local_dir"] == first
    assert not first.exists()


def test_a_hub_that_is_switched_off_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        fetch_weights("smolvlm-256m")
    assert "HF_HUB_OFFLINE" in caught.value.allowed


def test_any_hub_id_with_a_commit(fake_hub: _Hub, root: Path) -> None:
    with pytest.raises(ModelError, match="at a commit") as caught:
        fetch_weights("someone/some-vl")
    assert "--revision" in caught.value.fix
    with pytest.raises(ModelError, match="at a commit"):
        fetch_weights("someone/some-vl", revision="main")
    place = fetch_weights("someone/some-vl", revision=COMMIT)
    assert place == root / "someone--some-vl" == weights_folder("someone/some-vl")


def test_a_snapshot_at_hand_is_copied_without_the_hub(tmp_path: Path, fake_hub: _Hub, root: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / CONFIG).write_text('{"model_type": "qwen3_vl"}')
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    with pytest.raises(ModelError, match="incomplete") as caught:
        fetch_weights("qwen3-vl-2b", taken_from=folder)
    assert WEIGHTS in caught.value.got
    save_file({"a": torch.zeros(2)}, folder / WEIGHTS)
    with pytest.raises(ModelError, match="incomplete") as caught:
        fetch_weights("qwen3-vl-2b", taken_from=folder)
    assert caught.value.got == f"{TOKENIZER} missing"
    assert "AutoTokenizer" in caught.value.fix
    (folder / TOKENIZER).write_text("{}")
    place = fetch_weights("qwen3-vl-2b", taken_from=folder)
    assert set(check_manifest(place)["files"]) == {CONFIG, TOKENIZER, WEIGHTS}
    (folder / CONFIG).write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(ModelError, match="another model") as caught:
        fetch_weights("qwen3-vl-2b", taken_from=folder, force=True)
    assert "llama (LlamaForCausalLM)" in caught.value.got
    assert not fake_hub.calls


def test_nothing_is_fetched_unasked(fake_hub: _Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    monkeypatch.setattr(hub, "download_snapshot", lambda *_: pytest.fail("the hub was asked"))
    for source in known_weights.KNOWN:
        with pytest.raises(ModelError, match="not at hand") as caught:
            weights_folder(source.name)
        assert caught.value.fix == f"moon weights fetch {source.name}"
    with pytest.raises(ModelError, match="not at hand") as caught:
        weights_folder("someone/some-vl")
    assert caught.value.fix == "moon weights fetch someone/some-vl --revision COMMIT"
    assert not fake_hub.calls


def test_every_known_name_says_what_it_is() -> None:
    for source in known_weights.KNOWN:
        assert source.licence
        assert source.what
        if isinstance(source, WheelSource):
            assert len(source.sha256) == 64
            assert source.name in fetching.CONVERT
        else:
            assert isinstance(source, HubSource)
            assert source.revision is not None
            assert known_weights.COMMIT.fullmatch(source.revision)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="no weights of this name") as caught:
        find_source("smollm3")
    assert "smollm2-135m" in caught.value.allowed
    with pytest.raises(ModelError, match="no revision"):
        find_source("smollm2-135m", COMMIT)
