"""`moon evaluate` and `moon leaderboard` on a small catalogue, and what they say of wrong names."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from catalog import ModelError, ProductItem, QueryItem, Side, SplitConfig, split_catalog
from moon.cli import app
from moon.encoders import BARE, PREFIXED, EncoderOptions, check_name, resolve_encoder
from moon.evaluation_data import open_evaluation
from moon.judging import Watched, lineage_warnings, write_whole
from tests.benchmark.shop import picture, png, stocked
from tests.rivals.tiny import FOLDERS, item_of, questions, stock
from validation.benchmark import BenchmarkRecord, build_eval_set
from validation.config import BenchmarkConfig
from validation.freezing import SetCard, save_eval_set
from validation.rivals import BM25, ColourHistogram, RandomVectors
from validation.statistics import outcomes_from_dict

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue folder of 60 products with two photos each."""
    root = tmp_path_factory.mktemp("shop")
    (root / "images").mkdir()
    colours, leaves = ("red", "green", "blue"), (["Wear", "Hats"], ["Wear", "Shirts"], ["Home", "Rugs"])
    rows, queries = [], []
    for index in range(60):
        names = [f"images/{index}-{turn}.png" for turn in range(2)]
        for turn, name in enumerate(names):
            (root / name).write_bytes(png(picture(2 * index + turn)))
        colour, leaf = colours[index % 3], leaves[index // 3 % 3]
        row = {"product_id": f"p{index}", "title": f"{colour} {leaf[-1]} model{index}", "category": leaf}
        rows.append({**row, "attributes": {"color": colour}, "images": names})
        queries.append({"query_id": f"q{index}", "kind": "text", "text": f"model{index}", "product_ids": [f"p{index}"]})
    (root / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    return root


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def moon(*words: str | Path) -> Result:
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("command", ["evaluate", "leaderboard"])
def test_help_teaches_by_example(command: str) -> None:
    done = moon(command, "--help")
    assert done.exit_code == 0
    assert f"Example: moon {command}" in " ".join(done.output.split())


def test_evaluate_prints_the_table_and_writes_record_and_items(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "record.json"
    done = moon("evaluate", "--model", "bm25", "--data", shop, "--out", out)
    assert done.exit_code == 0, done.output
    assert "text_to_product/recall@1" in done.stdout
    assert "bm25 does not read image" in done.stdout
    record = BenchmarkRecord.from_json(out.read_text())
    assert record.scores["text_to_product/recall@1"].value == 1.0, "every query names its product"
    items = outcomes_from_dict(json.loads(out.with_name("record.outcomes.json").read_text()))
    assert {key for key in items if not key.endswith("]")} <= record.scores.keys()
    assert len(items["text_to_product/recall@1"].ids) == record.scores["text_to_product/recall@1"].n
    assert not list(out.parent.glob(".*")), "nothing half-written stays"


def test_the_board_ranks_tells_what_cannot_be_answered_and_does_not_run_twice(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "board"
    words = ["leaderboard", "--data", shop, "--out", out]
    for model in ("random", "majority", "bm25", f"clip:{FOLDERS['clip'](tmp_path / 'clip')}"):
        words += ["--model", model]
    done = moon(*words)
    assert done.exit_code == 0, done.output
    board = json.loads((out / "board.json").read_text())
    rows = {row["model"].partition(":")[0]: row for row in board["encoders"]}
    assert rows.keys() == {"random", "majority", "bm25", "clip"}
    assert rows["random"]["main"] is not None
    assert rows["clip"]["main"] is not None
    assert rows["bm25"]["main"] is None
    assert rows["clip"]["num_parameters"] > 10_000
    assert rows["clip"]["timings"]["product_ms"] > 0
    assert "image_to_product/recall@1" not in rows["bm25"]["scores"]
    assert (out / "board.md").read_text().strip() in done.stdout
    assert "<table>" in (out / "board.html").read_text()
    monkeypatch.setattr(BM25, "embed_products", lambda *_: pytest.fail("scored twice"))
    again = moon(*words)
    assert again.exit_code == 0, again.output
    assert "bm25: scored before, taken over" in again.output
    assert json.loads((out / "board.json").read_text()) == board


def test_with_a_cache_no_vector_is_computed_twice_and_no_time_is_told(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", "--model", "colour", "--data", shop, "--cache", tmp_path / "vectors", "--out"]
    assert moon(*words, tmp_path / "one.json").exit_code == 0
    monkeypatch.setattr(ColourHistogram, "embed_products", lambda *_: pytest.fail("computed twice"))
    monkeypatch.setattr(ColourHistogram, "embed_queries", lambda *_: pytest.fail("computed twice"))
    again = moon(*words, tmp_path / "two.json")
    assert again.exit_code == 0, again.output
    one, two = (BenchmarkRecord.from_json((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one.scores == two.scores
    assert one.timings.keys() == two.timings.keys() == {"total_s"}
    assert two.num_parameters == 0


def test_random_vectors_are_cached_by_their_ids(shop: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--model", "random", "--data", shop, "--out", tmp_path / "record.json"]
    scores = []
    for more in ([], ["--cache", tmp_path / "vectors"], ["--cache", tmp_path / "vectors"]):
        assert moon(*words, *more).exit_code == 0
        scores.append(BenchmarkRecord.from_json((tmp_path / "record.json").read_text()).scores)
    assert scores[0] == scores[1] == scores[2]


def test_a_frozen_set_is_judged_without_its_catalogue(tmp_path: Path) -> None:
    small = stocked(tmp_path / "small")
    eval_set = build_eval_set(small.catalog(), small.splits(), BenchmarkConfig(min_attribute_n=10))
    card = SetCard(name="a shop", created=datetime(2026, 1, 1, tzinfo=UTC), source="shop")
    save_eval_set(eval_set, tmp_path / "frozen", card)
    done = moon("evaluate", "--model", "bm25", "--data", tmp_path / "frozen", "--out", tmp_path / "record.json")
    assert done.exit_code == 0, done.output
    record = BenchmarkRecord.from_json((tmp_path / "record.json").read_text())
    assert record.eval_set_digest == eval_set.digest
    assert record.scores["text_to_product/recall@1"].n > 0
    wrong = moon("evaluate", "--model", "bm25", "--data", tmp_path / "frozen", "--side", "val")
    assert wrong.exit_code == 1
    assert "a frozen evaluation set has one side" in wrong.output


def test_a_frozen_set_of_the_other_side_needs_no_side_to_be_named(tmp_path: Path) -> None:
    small = stocked(tmp_path / "small")
    catalog = small.catalog()
    splits = split_catalog(catalog, SplitConfig(val_frac=0.5))
    eval_set = build_eval_set(catalog, splits, BenchmarkConfig(min_attribute_n=10), Side.VAL)
    card = SetCard(name="a shop", created=datetime(2026, 1, 1, tzinfo=UTC), source="shop")
    save_eval_set(eval_set, tmp_path / "frozen", card)
    for words in ([], ["--side", "val"]):
        done = moon("evaluate", "--model", "random", "--data", tmp_path / "frozen", *words)
        assert done.exit_code == 0, done.output
    assert moon("evaluate", "--model", "random", "--data", tmp_path / "frozen", "--side", "test").exit_code == 1


def test_an_entry_of_another_catalogue_is_not_taken_over(shop: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(shop, tmp_path / "other"))
    rows = (other / "products.jsonl").read_text().splitlines()
    (other / "products.jsonl").write_text("\n".join(row.replace(" model", " article") for row in rows))
    out = tmp_path / "board"
    for data in (shop, other):
        done = moon("leaderboard", "--data", data, "--model", "title_words", "--model", "random", "--out", out)
        assert done.exit_code == 0, done.output
        assert "taken over" not in done.output


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bm52", "did you mean bm25?"),
        ("colors", "did you mean colour"),
        ("openai/clip", "clip:openai/clip"),
        ("clip:owner/model", "hf download owner/model"),
        ("st:owner/model", "--fetch"),
        ("clip:", "clip:FOLDER_OR_ID"),
        ("clop:owner/model", "did you mean clip"),
        ("os:getcwd", "--trust-remote-code"),
        ("moon:/nowhere", "no lineage.json"),
        ("untrained:/nowhere", "no lineage.json"),
        ("zzz", "a MOON model folder"),
    ],
)
def test_a_wrong_name_is_told_before_anything_is_read(name: str, says: str) -> None:
    done = moon("evaluate", "--model", name, "--data", "/nowhere/at/all")
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_folder_that_is_not_moons_is_told_its_kind(tmp_path: Path) -> None:
    for kind, told in (("open_clip", "open_clip:"), ("st", "st:"), ("clip", "clip, siglip, st, text or vision")):
        folder = FOLDERS[kind](tmp_path / kind)
        done = moon("evaluate", "--model", folder, "--data", "demo")
        assert done.exit_code == 1
        assert told in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "/nowhere/at/all"], "nothing there to judge on"),
        (["--data", "SHOP", "--side", "train"], "no such side to judge on"),
        (["--data", "/nowhere/at/all", "--out", "."], "--out names a folder"),
        (["--data", "/nowhere/at/all", "--out", f"{__file__}/record.json"], "no folder can be made there"),
        (["--data", "SHOP", "--label-prompt", "a photo"], "no place for the label"),
        (["--data", "SHOP", "--label-prompt", "{} {0}"], "no place for the label"),
    ],
)
def test_wrong_data_side_and_prompt_teach(words: list[str], says: str, shop: Path) -> None:
    done = moon("evaluate", "--model", "random", *(str(shop) if word == "SHOP" else word for word in words))
    assert done.exit_code == 1
    assert says in done.output


def test_an_encoder_that_is_named_twice_has_one_line(shop: Path, tmp_path: Path) -> None:
    done = moon("leaderboard", *["--model", "random"] * 2, "--data", shop, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert len(json.loads((tmp_path / "board.json").read_text())["encoders"]) == 1


def test_word_rivals_are_given_the_whole_catalogue_and_not_the_gallery_alone(shop: Path) -> None:
    with open_evaluation(str(shop), None, lambda _: None) as opened:
        assert len(opened.products) == 60
        assert 0 < len(opened.eval_set.gallery) < 60


def test_a_board_is_not_written_into_a_file() -> None:
    done = moon("leaderboard", "--model", "random", "--data", "/nowhere/at/all", "--out", __file__)
    assert done.exit_code == 1
    assert "no folder can be made there" in done.output


def test_a_recipe_stands_for_its_catalogue_split_and_benchmark(shop: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "parameters:\n  config:\n    benchmark: {confidence: 0.9}\n"
        f"    catalog: {{source: folder, path: {shop}, split: {{test_frac: 0.5}}}}\n"
    )
    done = moon("evaluate", "--model", "random", "--data", recipe, "--out", tmp_path / "record.json")
    assert done.exit_code == 0, done.output
    record = BenchmarkRecord.from_json((tmp_path / "record.json").read_text())
    assert record.confidence == 0.9
    assert record.num_gallery > 20
    recipe.write_text("parameters:\n  config:\n    benchmark: {confidense: 0.9}\n")
    wrong = moon("evaluate", "--model", "random", "--data", recipe)
    assert wrong.exit_code == 1
    assert "benchmark.confidense" in wrong.output
    assert "moon check-config" in wrong.output


def test_published_data_is_judged_by_a_recipe_and_pointed_to_it_without(tmp_path: Path) -> None:
    lines = []
    for number in range(60):
        leaf = ("连衣裙", "皮鞋", "帽子")[number % 3]
        fields = {
            "编号": str(number),
            "标题": f"红色{leaf} 型号{number}",
            "类目": f"服饰>{leaf}",
            "搜索": f"型号{number}",
        }
        lines.append(json.dumps(fields, ensure_ascii=False))
    data = tmp_path / "data" / "rows.jsonl"
    data.parent.mkdir()
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "map.yaml").write_text(
        "product_id: 编号\ntitle: 标题\ncategory: {columns: [类目], separator: '>'}\nqueries: {text: 搜索}\n",
        encoding="utf-8",
    )
    recipe = tmp_path / "recipe.yaml"
    source = f"{{source: columns, path: {data.parent}, columns: {tmp_path / 'map.yaml'}}}"
    recipe.write_text(f"parameters: {{config: {{catalog: {source}}}}}\n", encoding="utf-8")
    done = moon("evaluate", "--model", "bm25", "--data", recipe, "--out", tmp_path / "record.json")
    assert done.exit_code == 0, done.output
    scores = BenchmarkRecord.from_json((tmp_path / "record.json").read_text()).scores
    assert scores["text_to_product/recall@1"].value == 1.0, "every query names its product"
    assert scores["category_leaf/accuracy"].value == 1.0, "every title names its leaf"
    for place in (data, data.parent):
        done = moon("evaluate", "--model", "bm25", "--data", place)
        assert done.exit_code == 1
        assert "moon data inspect" in done.output
        assert "source" in done.output


def test_every_name_that_needs_no_folder_gives_an_encoder() -> None:
    products = [item.product for item in stock()]
    for name in BARE:
        if name != "majority":
            encoder = resolve_encoder(name, products)
            assert encoder.embed_products(stock()).shape == (len(stock()), encoder.dims)
    assert {"clip", "siglip", "open_clip", "st", "text", "vision", "moon", "untrained"} == set(PREFIXED)


@pytest.mark.parametrize("kind", ["clip", "siglip", "open_clip", "st", "text", "vision"])
def test_every_kind_of_folder_gives_an_encoder(kind: str, tmp_path: Path) -> None:
    encoder = resolve_encoder(f"{kind}:{FOLDERS[kind](tmp_path / kind)}", [], EncoderOptions(device="cpu"))
    assert encoder.name.startswith(kind)
    assert encoder.embed_products(stock()).shape == (len(stock()), encoder.dims)


def test_code_is_imported_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_encoders.py").write_text(
        "from validation.rivals import RandomVectors\nclass Theirs(RandomVectors):\n    name = 'theirs'\nnothing = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match="not done unasked"):
        check_name("their_encoders:Theirs")
    asked = EncoderOptions(trust_remote_code=True)
    assert resolve_encoder("their_encoders:Theirs", [], asked).name == "theirs"
    with pytest.raises(ModelError, match="does not keep the Embedder protocol"):
        resolve_encoder("their_encoders:nothing", [], asked)
    with pytest.raises(ModelError, match="no such encoder in that module"):
        resolve_encoder("their_encoders:Absent", [], asked)


def test_a_watched_encoder_gives_the_same_vectors_and_tells_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moon.judging.EVERY_S", 0.0)
    monkeypatch.setattr("moon.judging.BLOCK", 2)
    said: list[str] = []
    plain = RandomVectors()
    watched = Watched(plain, "random", said.append)
    hide = frozenset({"title"})
    assert (watched.embed_products(iter(stock()), hide) == plain.embed_products(stock(), hide)).all()
    assert (watched.embed_queries(iter(questions())) == plain.embed_queries(questions())).all()
    assert (watched.embed_labels(iter("abc")) == plain.embed_labels("abc")).all()
    assert watched.embed_labels([]).shape == (0, plain.dims)
    assert (watched.name, watched.digest, watched.num_parameters) == (plain.name, plain.digest, 0)
    assert said[0].startswith("random: 2 of 7 products without title, ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda vectors: vectors[:1], r"wrong shape[\s\S]*\(1, 64\)[\s\S]*\(2, 64\)"),
        (lambda vectors: vectors[:, :3], r"wrong shape[\s\S]*\(2, 3\)"),
        (lambda vectors: vectors[0], "wrong shape"),
        (lambda vectors: None, "wrong shape"),
        (lambda vectors: vectors * np.nan, r"not finite[\s\S]*q-3"),
        (lambda vectors: vectors * 0, r"unit length[\s\S]*q-3"),
    ],
)
def test_a_block_that_breaks_the_protocol_is_refused_before_the_next_is_embedded(
    change: Callable[[Any], Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moon.judging.BLOCK", 2)
    calls: list[int] = []

    class Odd(RandomVectors):
        def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
            calls.append(1)
            vectors = super().embed_queries(items)
            changed: np.ndarray = change(vectors) if len(calls) == 2 else vectors
            return changed

    asked = [QueryItem(f"q-{number}", "红色连衣裙") for number in range(1, 8)]
    with pytest.raises(ModelError, match=told):
        Watched(Odd(), "odd", lambda _: None).embed_queries(asked)
    assert len(calls) == 2


def test_a_watched_encoder_passes_on_what_is_hidden() -> None:
    rival = BM25([item.product for item in stock()])
    shown = item_of("p", title="red shirt")
    hidden = Watched(rival, "bm25", lambda _: None).embed_products([shown], frozenset({"title"}))
    assert np.array_equal(hidden, rival.embed_products([ProductItem(shown.product)], frozenset({"title"})))


def test_a_model_trained_under_another_split_is_told(tmp_path: Path) -> None:
    (tmp_path / "lineage.json").write_text(json.dumps({"split": '{"salt": "a"}'}))
    assert lineage_warnings(str(tmp_path), '{"salt":"a"}') == []
    assert lineage_warnings(f"moon:{tmp_path}", '{"salt":"b"}') == [
        "trained under another split: it may have seen products of this side"
    ]
    assert lineage_warnings("bm25", '{"salt":"b"}') == lineage_warnings(str(tmp_path), None) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a" / "b.json"
    write_whole(place, "one")
    write_whole(place, "二")
    assert place.read_text(encoding="utf-8") == "二"
    (tmp_path / "file").write_text("")
    from catalog import StorageError

    with pytest.raises(StorageError, match="cannot be written"):
        write_whole(tmp_path / "file" / "b.json", "one")
    assert [path.name for path in place.parent.iterdir()] == ["b.json"]
