"""What goes into a Bento, when one is built again, and what is refused. BentoML itself runs in test_bento.py."""

from __future__ import annotations

import ast
import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from models.folder import folder_digest
from serving import packaging
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.errors import ServingError
from serving.index import build_index
from serving.packaging import bento_path, code_digest, package_bento
from serving.requirements import ROOTS, closure
from tests.serving.fakes import FakeEncoder, plain_catalog

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "lineage.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps({"schema_version": 1, "regions": {"backend": "saliency"}}))
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Path) -> Path:
    encoder = FakeEncoder()
    encoder.digest = folder_digest(model)
    build_index(encoder, plain_catalog(3), tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """BentoML replaced by a copy of the build context into the store; the contexts seen."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))
    seen: list[Path] = []

    def build(context: Path, version: str) -> None:
        target = bento_path(f"moon:{version}")
        target.mkdir(parents=True)
        context.rename(target / "src")
        context.mkdir()
        (target / "bento.yaml").write_text("")
        seen.append(target / "src")

    monkeypatch.setattr(packaging, "_build", build)
    return seen


def test_contents(model: Path, index: Path, builds: list[Path]) -> None:
    config = ServingConfig(max_top_k=77)
    info = package_bento(model, index, config, version="Run 3", labels={"run_id": "r9"})
    src = builds[0]
    assert {path.name for path in src.iterdir()} == {
        "bundle",
        "catalog",
        "models",
        "serving",
        "moon_bento.py",
        "requirements.txt",
        "bentofile.yaml",
    }
    bundle = Bundle.read(src / "bundle")
    assert (bundle.version, bundle.config) == ("Run 3", config)
    assert bundle.labels["run_id"] == "r9"
    assert folder_digest(bundle.model_folder) == info.model_digest == bundle.labels["model_digest"]
    assert (bundle.index_folder / "manifest.json").is_file()
    assert code_digest(src) == code_digest(ROOT)
    assert re.fullmatch(r"moon:run-3-[0-9a-f]{12}", info.tag)
    build_file = yaml.safe_load((src / "bentofile.yaml").read_text())
    assert build_file["service"] == "moon_bento:service"
    assert build_file["labels"] == bundle.labels
    assert not list(src.rglob("__pycache__"))


def test_no_absolute_path_inside(model: Path, index: Path, builds: list[Path], tmp_path: Path) -> None:
    package_bento(model, index, ServingConfig(), version="1")
    places = (str(tmp_path).encode(), str(ROOT).encode(), str(Path.home()).encode() + b"/")
    for path in builds[0].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [place for place in places if place in content], path


def test_the_same_content_is_built_once(model: Path, index: Path, builds: list[Path]) -> None:
    first = package_bento(model, index, ServingConfig(), version="1", labels={"run_id": "a"})
    second = package_bento(model, index, ServingConfig(), version="1", labels={"run_id": "b"})
    assert (first.built, second.built, len(builds)) == (True, False, 1)
    assert (first.tag, first.content_digest) == (second.tag, second.content_digest)


def test_other_content_is_another_bento(
    model: Path, index: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {package_bento(model, index, ServingConfig(), version="1").tag}
    tags.add(package_bento(model, index, ServingConfig(), version="2").tag)
    tags.add(package_bento(model, index, ServingConfig(max_top_k=20), version="1").tag)
    tags.add(package_bento(model, index, ServingConfig(include_ultralytics=True), version="1").tag)
    monkeypatch.setattr(packaging, "code_digest", lambda root: "changed")
    tags.add(package_bento(model, index, ServingConfig(), version="1").tag)
    assert len(tags) == len(builds) == 5


def test_code_digest_follows_every_file(tmp_path: Path) -> None:
    for package in packaging.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("1")
    seen = {code_digest(tmp_path)}
    (tmp_path / "models" / "a.py").write_text("2")
    seen.add(code_digest(tmp_path))
    (tmp_path / "serving" / "page.html").write_text("x")
    seen.add(code_digest(tmp_path))
    (tmp_path / "catalog" / "a.py").rename(tmp_path / "catalog" / "b.py")
    seen.add(code_digest(tmp_path))
    assert len(seen) == 4
    (tmp_path / "serving" / "__pycache__").mkdir()
    (tmp_path / "serving" / "__pycache__" / "a.py").write_text("3")
    assert code_digest(tmp_path) in seen


def test_an_index_of_another_model_is_refused(model: Path, index: Path, builds: list[Path]) -> None:
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ServingError, match="another model"):
        package_bento(model, index, ServingConfig(), version="1")
    assert not builds


def test_a_yolo_model_without_ultralytics_is_refused(model: Path, builds: list[Path], tmp_path: Path) -> None:
    (model / "config.json").write_text(json.dumps({"regions": {"backend": "yolo"}}))
    encoder = FakeEncoder()
    encoder.digest = folder_digest(model)
    build_index(encoder, plain_catalog(3), tmp_path / "index")
    with pytest.raises(ServingError, match="include_ultralytics"):
        package_bento(model, tmp_path / "index", ServingConfig(), version="1")
    assert package_bento(model, tmp_path / "index", ServingConfig(include_ultralytics=True), version="1").built


def test_a_model_that_points_outside_is_refused(model: Path, builds: list[Path], tmp_path: Path) -> None:
    regions = {"backend": "saliency", "yolo": {"weights": "/home/someone/w.safetensors"}}
    (model / "config.json").write_text(json.dumps({"regions": regions}))
    encoder = FakeEncoder()
    encoder.digest = folder_digest(model)
    build_index(encoder, plain_catalog(3), tmp_path / "index")
    with pytest.raises(ServingError, match=r"w\.safetensors"):
        package_bento(model, tmp_path / "index", ServingConfig(), version="1")


def test_what_bentoml_says_when_it_fails_is_told(
    model: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(packaging.sys, "executable", "/bin/false")
    with pytest.raises(ServingError, match="BentoML cannot build"):
        package_bento(model, index, ServingConfig(), version="1")


def imported_modules(package: str) -> set[str]:
    """Top-level names that the package imports anywhere, functions included."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


TRAINING_ONLY = {"cv2", "gguf", "lightning", "matplotlib", "peft", "ultralytics"}


def test_everything_the_code_imports_is_in_the_requirements() -> None:
    modules = set().union(*map(imported_modules, packaging.PACKAGES))
    outside = modules - sys.stdlib_module_names - set(packaging.PACKAGES) - TRAINING_ONLY
    homes = metadata.packages_distributions()
    needed = {name: {canonicalize_name(home) for home in homes.get(name, [name])} for name in outside}
    have = closure(ROOTS)
    assert not {name: found for name, found in needed.items() if not found & have}
