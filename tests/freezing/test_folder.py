from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import ImageError, Photo, StorageError, sha256_hex
from tests.freezing.conftest import CARD
from validation.benchmark import EvalSet
from validation.curating import Found, Rule
from validation.errors import BenchmarkError
from validation.freezing import load_eval_set, read_card, read_digest, read_findings, save_eval_set
from validation.freezing.folder import photos_of


def edited(folder: Path, edit: Callable[[dict[str, Any]], None], *, honest: bool = False) -> Path:
    """Change the set's file; `honest` also renews the digest of the file, as one who means harm would."""
    path = folder / "evalset.json"
    content = json.loads(path.read_bytes())
    edit(content)
    data = json.dumps(content, ensure_ascii=False).encode()
    path.write_bytes(data)
    if honest:
        digest = (folder / "DIGEST").read_text(encoding="utf-8").splitlines()[0]
        (folder / "DIGEST").write_text(f"{digest}\n{sha256_hex(data)}  evalset.json\n", encoding="utf-8")
    return folder


def test_a_set_comes_back_as_it_went(eval_set: EvalSet, frozen: Path) -> None:
    back = load_eval_set(frozen, check_photos=True)
    assert back.digest == eval_set.digest == read_digest(frozen)
    assert back.labels == tuple(
        replace(new, photos=old.photos) for new, old in zip(eval_set.labels, back.labels, strict=True)
    )
    assert [task.name for task in back.retrieval] == [task.name for task in eval_set.retrieval]
    for one, other in zip(eval_set.queries(), back.queries(), strict=True):
        assert type(one.item) is type(other.item)
        assert replace(one, item=other.item) == other
    assert (back.traits, back.absent, back.notes) == (eval_set.traits, eval_set.absent, eval_set.notes)
    assert (back.side, back.dataset_digest) == (eval_set.side, eval_set.dataset_digest)


def test_photographs_are_the_same_bytes_and_lie_by_digest(eval_set: EvalSet, frozen: Path) -> None:
    before, after = photos_of(eval_set), photos_of(load_eval_set(frozen))
    assert before.keys() == after.keys()
    assert len(before) == len(list((frozen / "photos").rglob("*.png")))
    for digest, photo in after.items():
        assert photo.read_bytes() == before[digest].read_bytes()
        assert photo.ref == f"photos/{digest[:2]}/{digest}.png"
        assert photo.load().size == (32, 32)


def test_the_folder_works_elsewhere_and_names_no_place(eval_set: EvalSet, frozen: Path, tmp_path: Path) -> None:
    moved = tmp_path / "another machine"
    shutil.move(frozen, moved)
    assert load_eval_set(moved, check_photos=True).digest == eval_set.digest
    roots = {photo.root for photo in photos_of(eval_set).values()}
    for path in (moved / "evalset.json", moved / "CARD.md", moved / "findings.json"):
        text = path.read_text(encoding="utf-8")
        assert not any(root in text for root in (*roots, str(tmp_path), str(Path.home())))


def test_equal_sets_give_equal_bytes_wherever_they_were_built(eval_set: EvalSet, tmp_path: Path) -> None:
    one = save_eval_set(eval_set, tmp_path / "one", CARD)
    two = save_eval_set(load_eval_set(one), tmp_path / "two", CARD)
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_saving_again_changes_the_card_alone(eval_set: EvalSet, frozen: Path) -> None:
    before = (frozen / "evalset.json").read_bytes()
    save_eval_set(eval_set, frozen, replace(CARD, licence="another"))
    assert (frozen / "evalset.json").read_bytes() == before
    assert "another" in (frozen / "CARD.md").read_text(encoding="utf-8")
    assert [path.name for path in frozen.parent.iterdir()] == ["shop"]


def test_another_set_is_not_written_over_unless_told(eval_set: EvalSet, frozen: Path) -> None:
    smaller = eval_set.only({task.name for task in eval_set.labels})
    with pytest.raises(BenchmarkError, match="another evaluation set lies there"):
        save_eval_set(smaller, frozen, CARD)
    assert load_eval_set(frozen).digest == eval_set.digest
    save_eval_set(smaller, frozen, CARD, overwrite=True)
    assert load_eval_set(frozen).digest == smaller.digest


def test_what_is_no_set_is_never_written_over(eval_set: EvalSet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BenchmarkError, match="no evaluation set lies"):
        save_eval_set(eval_set, tmp_path / "mine", CARD, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_failed_write_leaves_nothing(eval_set: EvalSet, tmp_path: Path) -> None:
    first = eval_set.gallery[0]
    gone = replace(first, photos=(replace(first.photos[0], root=str(tmp_path / "nowhere")), *first.photos[1:]))
    with pytest.raises(ImageError, match="missing"):
        save_eval_set(replace(eval_set, gallery=(gone, *eval_set.gallery[1:])), tmp_path / "set", CARD)
    assert list(tmp_path.iterdir()) == []


def test_where_the_new_set_cannot_take_its_place_the_old_one_stays(
    eval_set: EvalSet, frozen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = read_digest(frozen), os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target) == frozen and Path(source).parent == frozen.parent:
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr("validation.freezing.folder.os.replace", full)
    with pytest.raises(StorageError, match="cannot be written"):
        save_eval_set(replace(eval_set, side="val"), frozen, CARD, overwrite=True)
    assert load_eval_set(frozen, check_photos=True).digest == before
    assert [path.name for path in frozen.parent.iterdir()] == [frozen.name]


@pytest.mark.parametrize("honest", [False, True])
def test_json_that_no_parser_goes_down_into_is_a_damaged_set(frozen: Path, honest: bool) -> None:
    data = b"[" * 200_000
    (frozen / "evalset.json").write_bytes(data)
    if honest:
        text = (frozen / "DIGEST").read_text(encoding="utf-8").splitlines()[0]
        (frozen / "DIGEST").write_text(f"{text}\n{sha256_hex(data)}  evalset.json\n", encoding="utf-8")
    with pytest.raises(BenchmarkError, match="damaged" if honest else "another benchmark"):
        load_eval_set(frozen)


def test_a_changed_file_is_refused_before_it_is_read_as_json(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = frozen / "evalset.json"
    path.write_bytes(path.read_bytes() + b" ")

    def never(_: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("validation.freezing.folder.json.loads", never)
    with pytest.raises(BenchmarkError, match="another benchmark"):
        load_eval_set(frozen)


def test_names_in_the_card_are_no_markup(eval_set: EvalSet, tmp_path: Path) -> None:
    name = "![x](http://x.example/i.png) a\\|b @someone"
    card = replace(CARD, name=name, leaves={name: (1, 1)}, findings=(Found(Rule.DUPLICATES, "told", (name,)),))
    text = read_card(save_eval_set(eval_set, tmp_path / "set", card))
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[!]", text)
    assert "@someone" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}) == 1, table


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_one_changed_byte_makes_another_benchmark(frozen: Path, place: float) -> None:
    path = frozen / "evalset.json"
    data = bytearray(path.read_bytes())
    at = next(i for i in range(int(place * len(data)), len(data)) if 97 <= data[i] <= 102)
    data[at] = 97 + (data[at] - 96) % 6
    path.write_bytes(bytes(data))
    with pytest.raises(BenchmarkError, match=r"another benchmark|damaged|schema version"):
        load_eval_set(frozen)


def test_a_changed_title_is_told_even_where_the_files_digest_was_renewed(frozen: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["eval_set"]["gallery"][0]["product"]["title"] = "easier"

    with pytest.raises(BenchmarkError, match="another benchmark") as caught:
        load_eval_set(edited(frozen, edit, honest=True))
    assert caught.value.allowed == read_digest(frozen)[:12]


def test_a_changed_digest_file_is_told(frozen: Path) -> None:
    text = (frozen / "DIGEST").read_text(encoding="utf-8")
    (frozen / "DIGEST").write_text("0" * 64 + text[64:], encoding="utf-8")
    with pytest.raises(BenchmarkError, match="another benchmark"):
        load_eval_set(frozen)


@pytest.mark.parametrize("position", [9999, -1, "3", None, True, 1.5])
def test_answers_that_point_nowhere_are_refused(frozen: Path, position: object) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["eval_set"]["retrieval"][0]["queries"][0]["relevant"] = [position]

    with pytest.raises(BenchmarkError, match=r"points nowhere|damaged"):
        load_eval_set(edited(frozen, edit, honest=True))


def test_labels_that_point_nowhere_are_refused(frozen: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["eval_set"]["labels"][0]["answers"][0] = [4711]

    with pytest.raises(BenchmarkError, match="points nowhere"):
        load_eval_set(edited(frozen, edit, honest=True))


@pytest.mark.parametrize("key", ["schema_version", "eval_set_version"])
def test_an_unknown_version_is_refused(frozen: Path, key: str) -> None:
    with pytest.raises(BenchmarkError, match="another schema version") as caught:
        load_eval_set(edited(frozen, lambda content: content.update({key: 99}), honest=True))
    assert caught.value.got == "99"


def test_a_field_of_a_later_version_is_refused(frozen: Path) -> None:
    with pytest.raises(BenchmarkError, match="damaged") as caught:
        load_eval_set(edited(frozen, lambda content: content["eval_set"].update(later=1), honest=True))
    assert "later" in caught.value.got


@pytest.mark.parametrize("name", ["../../etc/passwd", "photos/aa/../../x.png", "/etc/passwd"])
def test_a_photo_outside_the_folder_is_never_read(frozen: Path, name: str) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["eval_set"]["gallery"][0]["photos"][0]["file"] = name

    with pytest.raises(BenchmarkError, match="damaged"):
        load_eval_set(edited(frozen, edit, honest=True))


def test_a_missing_photo_is_told_at_once_and_a_changed_one_when_read(frozen: Path) -> None:
    paths = sorted((frozen / "photos").rglob("*.png"))
    paths[0].write_bytes(paths[1].read_bytes())
    lazy = photos_of(load_eval_set(frozen))
    with pytest.raises(ImageError, match="changed"):
        lazy[paths[0].stem].read_bytes()
    with pytest.raises(BenchmarkError, match="another benchmark"):
        load_eval_set(frozen, check_photos=True)
    paths[0].unlink()
    with pytest.raises(BenchmarkError, match="missing"):
        load_eval_set(frozen)


@pytest.mark.parametrize("digest", [".*", "..|.*", "[^x]*", ""])
def test_a_digest_that_is_none_leads_to_no_photo(frozen: Path, digest: str) -> None:
    (frozen / "secret.png").write_bytes(b"secret")

    def edit(content: dict[str, Any]) -> None:
        content["eval_set"]["gallery"][0]["photos"][0] |= {"digest": digest, "file": "photos/../secret.png"}

    with pytest.raises(BenchmarkError, match="damaged") as caught:
        load_eval_set(edited(frozen, edit, honest=True))
    assert "lies at photos/../secret.png" in caught.value.got


def test_a_set_is_for_whoever_may_read_its_place(frozen: Path) -> None:
    assert frozen.stat().st_mode & 0o777 == 0o755


def test_a_set_that_does_not_come_back_as_it_went_is_not_written(
    eval_set: EvalSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(kind: type, data: Any, special: Any) -> EvalSet:
        return replace(eval_set, side="val")

    monkeypatch.setattr("validation.freezing.folder.from_plain", lossy)
    with pytest.raises(BenchmarkError, match="another benchmark"):
        save_eval_set(eval_set, tmp_path / "set", CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["evalset.json", "DIGEST"])
def test_half_a_folder_is_no_set(frozen: Path, name: str) -> None:
    (frozen / name).unlink()
    with pytest.raises(BenchmarkError, match=r"not a frozen evaluation set|damaged"):
        load_eval_set(frozen)


def test_a_photo_without_a_digest_is_not_frozen(eval_set: EvalSet, tmp_path: Path) -> None:
    labels = eval_set.labels
    task = next(task for task in labels if task.photos)
    held = Photo("held", data=next(iter(photos_of(eval_set).values())).read_bytes())
    bare = replace(task, photos=(replace(task.photos[0], photo=held), *task.photos[1:]))
    with pytest.raises(ImageError, match="without its digest"):
        save_eval_set(replace(eval_set, labels=(bare,)), tmp_path / "set", CARD)


def test_the_card_says_what_a_reader_must_know(eval_set: EvalSet, frozen: Path) -> None:
    text = (frozen / "CARD.md").read_text(encoding="utf-8")
    for wanted in (eval_set.digest, "f" * 64, "2026-03-01 12:00 UTC", "2026-05-30", "CC-BY-4.0", "`duplicates` | 2"):
        assert wanted in text
    assert all(f"`{task.name}`" in text for task in (*eval_set.retrieval, *eval_set.labels))
    assert "<b>" not in text
    assert "<i>" not in text
    assert "15 test products before the caps and 8 after" in text
    for line in text.splitlines():
        if line.startswith("| `"):
            assert len(line.replace("\\|", "").split("|")) in (4, 6)


def test_the_findings_keep_every_name(frozen: Path) -> None:
    (row,) = read_findings(frozen)
    assert row == {"rule": "duplicates", "count": 2, "told": "are copies; dropped", "items": ["b = a | <i>", "c = a"]}
