"""Encoders of other libraries, each on a tiny random model: protocol, leaks, missing parts, and direct calls."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catalog import Embedder, ModelError, ProductItem, QueryItem, check_vectors
from tests.rivals.tiny import ENCODERS, FOLDERS, MAX_TOKENS, item_of, photo_of, questions, stock, tokenizer
from validation.rivals import FrozenText, SentenceTransformersEncoder, TransformersClip
from validation.rivals.late_fusion import LateFusion
from validation.rivals.product_text import product_sentence

KINDS = tuple(FOLDERS)
READ = tuple(kind for kind in KINDS if kind != "vision")
SEE = tuple(kind for kind in KINDS if kind not in ("text", "st"))
TOWERS = ("clip", "siglip", "siglip2", "open_clip")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {kind: make(root / kind) for kind, make in FOLDERS.items()}


@pytest.fixture(scope="session")
def encoders(folders: dict[str, Path]) -> dict[str, LateFusion]:
    return {kind: ENCODERS[kind](folder, device="cpu") for kind, folder in folders.items()}


def norm(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_they_keep_the_protocol(encoders: dict[str, LateFusion], kind: str) -> None:
    encoder = encoders[kind]
    assert isinstance(encoder, Embedder)
    items, asked = stock(), questions()
    check_vectors(encoder.embed_products(iter(items)), [i.product.product_id for i in items], encoder.dims, kind)
    check_vectors(encoder.embed_queries(iter(asked)), [i.query_id for i in asked], encoder.dims, kind)
    for call in (encoder.embed_products, encoder.embed_queries):
        assert call([]).shape == (0, encoder.dims)
    assert encoder.num_parameters is not None
    assert encoder.num_bytes is not None
    assert encoder.num_bytes > 4 * encoder.num_parameters * 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_rows_follow_the_order_of_items_and_do_not_depend_on_their_batch(
    folders: dict[str, Path], encoders: dict[str, LateFusion], kind: str
) -> None:
    items = stock()
    whole = encoders[kind].embed_products(items)
    small = ENCODERS[kind](folders[kind], batch_size=1, device="cpu")
    assert np.allclose(small.embed_products(items[::-1])[::-1], whole, atol=1e-5)
    assert np.allclose(small.embed_queries(questions()), encoders[kind].embed_queries(questions()), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_changes_nothing(encoders: dict[str, LateFusion], kind: str) -> None:
    encoder = encoders[kind]
    one = item_of("p", 1, title="red shirt", category=["men", "tops"], attributes={"color": "red"}, description="wool")
    other = item_of("p", 1, title="green wool rug", category=["rug"], attributes={"color": "blue"}, description="soft")
    hide = frozenset({"title", "category", "attributes.color", "description"})
    assert (encoder.embed_products([one], hide) == encoder.embed_products([other], hide)).all()
    pictures = item_of("p", 2, 3, title="red shirt", category=["men", "tops"], attributes={"color": "red"})
    no_pictures = frozenset({"images", "description"})
    assert (encoder.embed_products([one], no_pictures) == encoder.embed_products([pictures], no_pictures)).all()


@pytest.mark.parametrize("kind", READ)
def test_title_category_and_attributes_are_read_while_they_are_shown(
    encoders: dict[str, LateFusion], kind: str
) -> None:
    fields: dict[str, Any] = {"title": "red", "category": ["men"], "attributes": {"color": "red"}}
    plain = encoders[kind].embed_products([item_of("p", **fields)])
    for name, value in {"title": "hat", "category": ["rug"], "attributes": {"color": "blue"}}.items():
        changed = encoders[kind].embed_products([item_of("p", **{**fields, name: value})])
        assert np.abs(plain - changed).max() > 1e-6, name
        described = encoders[kind].embed_products([item_of("p", **fields, description="wool")])
        assert (plain == described).all(), "the description is not read"


@pytest.mark.parametrize("kind", SEE)
def test_pictures_are_seen(encoders: dict[str, LateFusion], kind: str) -> None:
    one, two = encoders[kind].embed_products([item_of("p", 1), item_of("p", 2)])
    assert not np.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_with_nothing_to_read_lies_where_every_other_such_item_lies(
    encoders: dict[str, LateFusion], kind: str
) -> None:
    bare = ProductItem(item_of("p").product)
    hidden = frozenset({"title"})
    rows = encoders[kind].embed_products([bare, item_of("q", title="blue")], hidden)
    assert (rows[0] == rows[1]).all()
    queries = encoders[kind].embed_queries([questions()[-1]])
    assert abs(float(rows[0] @ queries[0])) < 0.9, "and queries with nothing lie elsewhere"


@pytest.mark.parametrize("kind", [kind for kind in SEE if kind != "vl"])
def test_the_order_of_photos_does_not_matter_and_one_photo_alone_is_its_own_vector(
    encoders: dict[str, LateFusion], kind: str
) -> None:
    encoder = encoders[kind]
    hide = frozenset({"title"})
    forth, back, single = encoder.embed_products([item_of("a", 1, 2, 3), item_of("b", 3, 1, 2), item_of("c", 4)], hide)
    assert (forth == back).all()
    direct = norm(encoder.see_images([photo_of(4).load()]))[0]
    assert np.allclose(single, direct, atol=1e-5)


@pytest.mark.parametrize("kind", TOWERS)
def test_a_product_is_half_its_words_and_half_its_photos(encoders: dict[str, LateFusion], kind: str) -> None:
    encoder = encoders[kind]
    item = item_of("a", 1, 2, category=["men"])
    words = norm(encoder.read_texts([product_sentence(item.product)]))[0]
    seen = norm(norm(norm(encoder.see_images([photo.load() for photo in item.photos]))).sum(0))
    assert np.allclose(encoder.embed_products([item])[0], norm(words + seen), atol=1e-5)
    assert np.allclose(encoder.embed_products([replace(item, photos=())])[0], words, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_digest_follows_weights_and_prompt(
    folders: dict[str, Path], encoders: dict[str, LateFusion], tmp_path: Path, kind: str
) -> None:
    make = ENCODERS[kind]
    assert make(folders[kind], device="cpu").digest == encoders[kind].digest
    assert make(FOLDERS[kind](tmp_path / kind, seed=1), device="cpu").digest != encoders[kind].digest
    if kind != "vision":
        asked = make(folders[kind], label_prompt="this is {}", device="cpu")
        assert asked.digest != encoders[kind].digest
        assert not np.allclose(asked.embed_labels(["hat"]), encoders[kind].embed_labels(["red hat"]), atol=1e-4)


def _ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our rooms said; the libraries speak too, as loudly as whoever imported them first has set."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("validation")]


@pytest.mark.parametrize("kind", [kind for kind in READ if kind not in ("text", "vl")])
def test_a_long_text_loses_its_end_and_it_is_said_once(
    folders: dict[str, Path], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = ENCODERS[kind](folders[kind], device="cpu")
    start = "red " * 40
    with caplog.at_level(logging.WARNING, logger="validation.rivals.late_fusion"):
        one = encoder.embed_products([item_of("p", title=start + "hat")])
        other = encoder.embed_products([item_of("p", title=start + "wool rug")])
    assert np.allclose(one, other, atol=1e-6)
    assert [f"reads {MAX_TOKENS} tokens" in text for text in _ours(caplog)] == [True]


def test_labels_are_asked_in_the_prompt_of_their_family(encoders: dict[str, LateFusion]) -> None:
    prompts = {"clip": "a photo of hat", "siglip": "This is a photo of hat.", "open_clip": "a photo of hat"}
    for kind, text in prompts.items():
        direct = norm(encoders[kind].read_texts([text]))
        assert np.allclose(encoders[kind].embed_labels(["hat"]), direct, atol=1e-5), kind
    for kind in ("text", "st", "vl"):
        queries = encoders[kind].embed_queries([replace(questions()[0], text="hat")])
        assert np.allclose(encoders[kind].embed_labels(["hat"]), queries, atol=1e-5), kind


def test_what_cannot_be_read_is_refused(encoders: dict[str, LateFusion]) -> None:
    with pytest.raises(ModelError, match="reads no text"):
        encoders["vision"].embed_labels(["hat"])
    assert encoders["text"].modalities == encoders["st"].modalities == {"text"}
    assert encoders["vision"].modalities == {"image"}
    assert encoders["clip"].modalities == encoders["vl"].modalities == {"text", "image"}


# --- against the libraries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_towers_of_transformers_equal_a_direct_call_one_item_at_a_time(
    folders: dict[str, Path], encoders: dict[str, LateFusion], kind: str
) -> None:
    from transformers import AutoModel, AutoProcessor

    model, processor = AutoModel.from_pretrained(folders[kind]).eval(), AutoProcessor.from_pretrained(folders[kind])
    padding = {"padding": "max_length", "max_length": MAX_TOKENS} if kind != "clip" else {}
    texts, images = ["red shirt", "a soft wool rug of wool"], [photo_of(1).load(), photo_of(2).load()]
    with torch.no_grad():
        words = [
            model.get_text_features(**processor(text=[text], return_tensors="pt", **padding)).pooler_output
            for text in texts
        ]
        seen = [
            model.get_image_features(**processor.image_processor(images=[image], return_tensors="pt")).pooler_output
            for image in images
        ]
    assert np.allclose(encoders[kind].read_texts(texts), torch.cat(words), atol=1e-5)
    assert np.allclose(encoders[kind].see_images(images), torch.cat(seen), atol=1e-5)


def test_open_clip_equals_a_direct_call(folders: dict[str, Path], encoders: dict[str, LateFusion]) -> None:
    import open_clip

    name = f"local-dir:{folders['open_clip']}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    tokens = open_clip.get_tokenizer(name)(["red shirt", "soft rug"])
    with torch.no_grad():
        words, seen = model.encode_text(tokens), model.encode_image(preprocess(photo_of(1).load())[None])
    assert np.allclose(encoders["open_clip"].read_texts(["red shirt", "soft rug"]), words, atol=1e-5)
    assert np.allclose(encoders["open_clip"].see_images([photo_of(1).load()]), seen, atol=1e-5)


def test_frozen_text_equals_the_mean_of_a_text_read_alone(
    folders: dict[str, Path], encoders: dict[str, LateFusion]
) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, words = AutoModel.from_pretrained(folders["text"]).eval(), AutoTokenizer.from_pretrained(folders["text"])
    texts = ["red", "a photo of this soft warm wool rug", "blue hat"]
    with torch.no_grad():
        alone = [model(**words(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
    assert np.allclose(encoders["text"].read_texts(texts), torch.stack(alone), atol=1e-5)


def test_frozen_vision_equals_timms_pooled_features(folders: dict[str, Path], encoders: dict[str, LateFusion]) -> None:
    import timm
    from safetensors.torch import load_file

    net = timm.create_model("test_efficientnet", num_classes=5)
    net.load_state_dict(load_file(folders["vision"] / "model.safetensors"))
    image = photo_of(1).load()
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        direct = net.eval().forward_features(pixels).mean((2, 3))
    assert np.allclose(encoders["vision"].see_images([image]), direct, atol=1e-4)


@pytest.mark.parametrize("kind", ["st", "vl"])
def test_sentence_transformers_are_called_with_their_own_prompts(
    folders: dict[str, Path], encoders: dict[str, LateFusion], kind: str
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folders[kind]), device="cpu")
    item, asked = item_of("p", title="red wool hat"), replace(questions()[0], text="red wool hat")
    document, query = model.encode_document(["red wool hat"]), model.encode_query(["red wool hat"])
    assert np.allclose(encoders[kind].embed_products([item]), norm(document), atol=1e-5)
    assert np.allclose(encoders[kind].embed_queries([asked]), norm(query), atol=1e-5)
    assert (kind == "st") == (not np.allclose(document, query, atol=1e-3)), "only the first has two prompts"


def test_a_joint_model_gets_words_and_photos_as_one_input(
    folders: dict[str, Path], encoders: dict[str, LateFusion]
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folders["vl"]), device="cpu")
    item = item_of("p", 1, 2, title="red hat")
    images = [photo.load() for photo in item.photos]
    direct = norm(model.encode_document([{"text": "red hat", "image": images}]))
    assert np.allclose(encoders["vl"].embed_products([item]), direct, atol=1e-5)
    one_photo = ENCODERS["vl"](folders["vl"], max_photos=1, device="cpu")
    direct = norm(model.encode_document([{"text": "red hat", "image": images[0]}]))
    assert np.allclose(one_photo.embed_products([item]), direct, atol=1e-5)


def test_a_text_that_looks_like_an_address_is_read_and_not_opened(
    encoders: dict[str, LateFusion], monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    text = "http://shop.invalid/red.png"
    for kind in ("vl", "st", "clip"):
        (row,) = encoders[kind].embed_queries([replace(questions()[0], text=text)])
        (words,) = norm(encoders[kind].read_texts([text]))
        assert np.allclose(row, words, atol=1e-5)


def test_bf16_is_close_to_fp32_and_another_encoder(folders: dict[str, Path], encoders: dict[str, LateFusion]) -> None:
    for kind in ("clip", "open_clip", "text", "vision"):
        half = ENCODERS[kind](folders[kind], dtype="bf16", device="cpu")
        cosine = (half.embed_products(stock()) * encoders[kind].embed_products(stock())).sum(1)
        assert cosine.min() > 0.99, kind
        assert half.digest != encoders[kind].digest


def test_a_model_of_words_alone_reads_texts_of_any_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer().backend_tokenizer, embedding_dim=8)])
    model.save_pretrained(str(tmp_path / "static"))
    encoder = SentenceTransformersEncoder(tmp_path / "static", device="cpu")
    texts = ["red shirt", "soft warm wool " * 300]
    found = encoder.embed_queries([QueryItem(str(row), text) for row, text in enumerate(texts)])
    assert np.allclose(found, norm(model.encode_query(texts)), atol=1e-5)
    assert not _ours(caplog)


def test_a_language_model_with_few_positions_cuts_texts_to_them(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=60, max_position_embeddings=12, **size)).save_pretrained(tmp_path)
    tokenizer(10**20).save_pretrained(tmp_path)
    encoder = FrozenText(tmp_path, device="cpu")
    long, cut = (encoder.read_texts([" ".join(["wool"] * count)]) for count in (50, 10))
    assert np.allclose(long, cut, atol=1e-5), "start, ten words, end"


def test_what_needs_more_than_a_text_is_no_frozen_text_model(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    T5Model(T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        FrozenText(tmp_path, device="cpu")


def test_a_zero_vector_is_told_and_counts_as_nothing_to_read(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = TransformersClip(folders["clip"], device="cpu")
    encoder.read_texts = lambda texts, side="query": np.zeros((len(texts), encoder.dims))  # type: ignore[method-assign]
    asked, bare, seen = [QueryItem("q", "red shirt"), QueryItem("r")], item_of("p"), item_of("s", 1)
    assert np.allclose(encoder.embed_queries(asked), encoder.nowhere("query"))
    assert np.allclose(encoder.embed_products([bare]), encoder.nowhere("product")), "far from queries with nothing"
    assert np.allclose(encoder.embed_products([seen]), norm(encoder.see_images([photo_of(1).load()])), atol=1e-5)
    told = [record.getMessage() for record in caplog.records if "zero vector" in record.getMessage()]
    assert told == [f"{encoder.name} gave a zero vector, which has no direction: it counts as none (said once)"]


def test_a_joint_zero_vector_is_told_and_lies_nowhere(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = SentenceTransformersEncoder(folders["vl"], device="cpu")
    monkeypatch.setattr(encoder, "_encode", lambda inputs, side: np.zeros((len(inputs), encoder.dims)))
    assert np.allclose(encoder.embed_products([item_of("s", 1)]), encoder.nowhere("product"))
    assert "zero vector" in caplog.text
