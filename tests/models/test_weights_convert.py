"""`moon weights convert`: a user's own GGUF file becomes weights that `composed` loads, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import timm
import torch
from safetensors.torch import save_file

from catalog import ModelError, StorageError
from models.backbones import composed
from models.weights import check_manifest, convert, convert_weights, weights_folder
from models.weights.folder import WEIGHTS
from models.weights.manifest import file_sha256
from tests.models.composed_models import CONV, config
from tests.models.gguf_models import rounded, tiny, write_gguf

pytestmark = pytest.mark.usefixtures("root")


def write_changed(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    architecture: str = "llama",
    without: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
    tensor: str = "",
) -> Path:
    """The tiny GGUF with another architecture, without some of its tensors or tokenizer entries, or with more."""

    class Writer(gguf.GGUFWriter):
        def __init__(self, path: Path, arch: str) -> None:
            super().__init__(path, architecture)
            for key, value in (extra or {}).items():
                self.add_string(key, value) if isinstance(value, str) else self.add_uint16(key, value)
            if tensor:
                super().add_tensor(tensor, torch.ones(16).numpy())

        def add_tensor(self, name: str, *args: Any, **kwargs: Any) -> None:
            if name not in without:
                super().add_tensor(name, *args, **kwargs)

        def add_key_value(self, key: str, *args: Any, **kwargs: Any) -> None:
            if key not in without:
                super().add_key_value(key, *args, **kwargs)

        def add_array(self, key: str, val: Any) -> None:
            if key not in without:
                super().add_array(key, val)

    with monkeypatch.context() as patched:
        patched.setattr(gguf, "GGUFWriter", Writer)
        write_gguf(tiny(), path, "smollm")
    return path


def left(root: Path) -> list[str]:
    """Everything under the root but the empty place of half-made folders."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path != root / ".partial")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_gguf(tiny(), tmp_path / "Tiny.Q4_1.gguf", "smollm")
    return tmp_path / "Tiny.Q4_1.gguf"


@torch.inference_mode()
def test_composed_loads_it_by_its_name(file: Path, root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    place = convert_weights(file, "tiny-gguf", say=said.append)
    assert place == root / "tiny-gguf" == weights_folder("tiny-gguf")
    manifest = check_manifest(place)
    assert manifest["name"] == "tiny-gguf"
    assert manifest["source"]["sha256"] == file_sha256(file)
    assert manifest["source"]["form"] == "de-quantised from F32, Q4_1, stored in float16"
    assert not list((root / ".partial").iterdir())
    assert not [text for text in said if "warning" in text]
    vision = tmp_path / "vision"
    vision.mkdir()
    (vision / "config.json").write_text(json.dumps({"architecture": CONV}))
    net = timm.create_model(CONV, pretrained=False)
    save_file({name: x.contiguous() for name, x in net.state_dict().items()}, vision / WEIGHTS)
    backbone, tokenizer = composed.load(config(language="tiny-gguf", vision=str(vision)))
    assert tokenizer.encode("x  12 a").tokens == ["x", "ĠĠ", "1", "2", "Ġa"]
    expected = tiny()
    expected.load_state_dict({k: rounded(v) if v.dim() == 2 else v for k, v in tiny().state_dict().items()})
    ids, mask = torch.tensor([[5, 80, 33, 7, 7, 120]]), torch.ones(1, 6, dtype=torch.bool)
    ours = backbone.eval().decode(backbone.embed_tokens(ids), mask, torch.arange(6).expand(3, 1, -1), mask, ())
    torch.testing.assert_close(ours, expected.model(ids).last_hidden_state, rtol=0, atol=5e-3)


def test_the_same_again_changes_nothing_and_others_are_refused(file: Path, root: Path, tmp_path: Path) -> None:
    place = convert_weights(file, "mine")
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    said: list[str] = []
    (file.parent / "moved").mkdir()
    assert convert_weights(file.rename(file.parent / "moved" / "x.gguf"), "mine", say=said.append) == place
    assert len(said) == 1
    assert "already" in said[0]
    write_gguf(tiny(), tmp_path / "other.gguf", "gpt-2")
    with pytest.raises(ModelError, match="taken by other weights") as caught:
        convert_weights(tmp_path / "other.gguf", "mine")
    assert caught.value.got == "weights from Tiny.Q4_1.gguf"
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before
    (root / "by-hand").mkdir()
    with pytest.raises(ModelError, match="taken by other weights"):
        convert_weights(tmp_path / "other.gguf", "by-hand")
    assert not list((root / "by-hand").iterdir())


def test_the_same_file_over_a_damaged_folder_says_how_to_make_it_anew(file: Path) -> None:
    place = convert_weights(file, "mine")
    (place / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="not those that were fetched") as caught:
        convert_weights(file, "mine")
    assert caught.value.fix == "remove the folder, then moon weights convert Tiny.Q4_1.gguf mine"


@pytest.mark.parametrize("name", ["smollm2-135m", "a/b", "..", ".partial", "", "-x", "a b"])
def test_names_that_cannot_be_given(name: str, file: Path, root: Path) -> None:
    with pytest.raises(ModelError, match=r"^name "):
        convert_weights(file, name)
    assert not root.exists()


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "no table": ({"architecture": "rwkv7"}, "no table of names", "rwkv7"),
    "no place": ({"architecture": "mamba"}, "built unlike what is known", "MambaModel"),
    "no tokens": ({"without": ("tokenizer.ggml.tokens",)}, "brings no tokenizer", "no tokenizer.ggml.tokens"),
    "no merges": ({"without": ("tokenizer.ggml.merges",)}, "brings no tokenizer", "tokenizer.ggml.merges"),
    "no tensor": ({"without": ("blk.0.ffn_up.weight",)}, "lacks tensors", "model.layers.0.mlp.up_proj.weight"),
    "a part": ({"extra": {"split.count": 3, "split.no": 1}}, "one part of several", "part 2 of 3"),
    "a table": ({"tensor": "rope_freqs.weight"}, "rotary positions", "rope_freqs.weight"),
    "yarn": ({"extra": {"llama.rope.scaling.type": "yarn"}}, "rotary positions", "rope.scaling.type yarn"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_would_become_another_model_is_refused(
    case: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, problem, got = BROKEN[case]
    write_changed(tmp_path / "x.gguf", monkeypatch, **changes)
    with pytest.raises(ModelError, match=problem) as caught:
        convert_weights(tmp_path / "x.gguf", "mine")
    assert got in caught.value.got
    assert left(root) == []


def test_a_file_that_is_not_whole_or_not_gguf(file: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ModelError, match="cannot be read") as caught:
        convert_weights(tmp_path / "half.gguf", "mine")
    assert "cut off" in caught.value.fix
    (tmp_path / "zip.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match="file is not GGUF") as caught:
        convert_weights(tmp_path / "zip.gguf", "mine")
    assert "PK" in caught.value.got
    for absent in (tmp_path / "gone.gguf", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            convert_weights(absent, "mine")
    assert left(root) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_conversion_leaves_nothing(
    stop: type[BaseException], file: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(gguf: Path, out: Path) -> None:
        (out / WEIGHTS).write_bytes(b"half")
        raise stop

    monkeypatch.setattr(convert, "convert_gguf", half)
    with pytest.raises(stop):
        convert_weights(file, "mine")
    assert left(root) == []


def test_a_folder_that_another_process_made_meanwhile_stays(
    file: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(gguf: Path, out: Path) -> None:
        (root / "mine").mkdir()
        (root / "mine" / "theirs").write_text("theirs")

    monkeypatch.setattr(convert, "convert_gguf", meanwhile)
    with pytest.raises(StorageError, match="cannot be written"):
        convert_weights(file, "mine")
    assert left(root) == ["mine", "mine/theirs"]


def test_files_beside_it_are_not_read(file: Path) -> None:
    alone = convert_weights(file, "alone")
    (file.parent / "config.json").write_text('{"model_type": "qwen2"}')
    (file.parent / "added_tokens.json").write_text('{"foo": 3}')
    (file.parent / "tokenizer.json").write_text("{}")
    (file.parent / "tokenizer_config.json").write_text('{"pad_token": "x", "model_max_length": 7}')
    beside = convert_weights(file, "beside")
    assert check_manifest(alone)["files"] == check_manifest(beside)["files"]


def test_a_rule_of_splitting_that_is_not_known_is_told(tmp_path: Path) -> None:
    write_gguf(tiny(), tmp_path / "x.gguf", "somebody-bpe")
    said: list[str] = []
    convert_weights(tmp_path / "x.gguf", "mine", say=said.append)
    assert [text for text in said if text.startswith("warning") and "'somebody-bpe'" in text]
