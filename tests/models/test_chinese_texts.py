"""Chinese titles, queries and attributes: limits count tokens, and a shopper's word meets the title that holds it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

from catalog import CatalogConfig, Product
from catalog.sources.notes import IngestNotes
from catalog.sources.rows import product_of
from models.config import ModelConfig
from models.processor import Processor
from models.tokenizer import load_tokenizer, text_ids, train_tokenizer
from models.tokens import SPECIAL_TOKENS, TokenType
from models.training.cuts import cut_line

SEASONS, STYLES = ("夏季新款", "春秋", "冬季加厚"), ("韩版", "法式", "宽松")
STUFFS, KINDS = ("纯棉", "雪纺", "针织"), ("连衣裙", "半身裙", "T恤", "羽绒服")
TITLES = ["".join(parts) + "女" for parts in itertools.product(SEASONS, STYLES, STUFFS, KINDS)]
TEXTS = [*TITLES, *KINDS, *STUFFS, "红色", "蓝色", "颜色", "尺码"]
TOKENIZER = train_tokenizer(TEXTS, 700)
CONFIG = ModelConfig()


class NoPictures:
    """A processor of words alone asks for none."""


def processor(**budgets: int) -> Processor:
    return Processor.of(TOKENIZER, CONFIG.model_copy(update=budgets), NoPictures())  # type: ignore[arg-type]


def test_a_chinese_title_is_cut_by_tokens_and_not_by_characters() -> None:
    title = TITLES[0] * 40
    for budget in (4, 11, 48):
        shown = processor(max_title_tokens=budget).product_sequence(
            Product(product_id="a", group_id="a", title=title), 0
        )
        assert shown.types.count(int(TokenType.TITLE)) == budget
        assert text_ids(TOKENIZER, title, budget) == text_ids(TOKENIZER, title, 10_000)[:budget]


def test_a_chinese_query_is_cut_by_tokens() -> None:
    shown = processor(max_text_tokens=7).query_sequence(TITLES[0] * 3, 0)
    assert shown.types.count(int(TokenType.TITLE)) == 7


def test_cut_chinese_titles_are_counted() -> None:
    products = [Product(product_id=str(number), group_id="g", title=title) for number, title in enumerate(TITLES[:9])]
    assert cut_line(processor(), products, [], []) == "cut: nothing"
    assert "9 titles (model.max_title_tokens 4)" in cut_line(processor(max_title_tokens=4), products, [], [])


def test_the_catalogues_limit_of_characters_guards_above_that_of_tokens() -> None:
    limit = CatalogConfig().max_title_chars
    row = {"product_id": "a", "title": TITLES[0] * 1000}
    notes = IngestNotes()
    title = product_of(row, "x:1", notes, limit).title or ""
    assert len(title) == limit
    assert notes.lines() != ()
    assert len(text_ids(TOKENIZER, title, CONFIG.max_title_tokens)) == CONFIG.max_title_tokens


@pytest.mark.parametrize("word", KINDS)
def test_a_shoppers_word_has_the_tokens_of_every_title_that_holds_it(word: str) -> None:
    asked = text_ids(TOKENIZER, word, 64)
    for title in (title for title in TITLES if word in title):
        shown = text_ids(TOKENIZER, title, 64)
        assert any(shown[start : start + len(asked)] == asked for start in range(len(shown)))


def test_known_characters_take_one_token_each() -> None:
    for title in TITLES:
        assert len(text_ids(TOKENIZER, title, 999)) == len(title)


def test_unknown_characters_are_still_told_apart() -> None:
    assert text_ids(TOKENIZER, "龘", 9) != text_ids(TOKENIZER, "靐", 9)
    assert TOKENIZER.decode(text_ids(TOKENIZER, "龘", 9)).strip() == "龘"


def test_a_space_before_chinese_changes_nothing_and_full_width_letters_are_plain_ones() -> None:
    assert text_ids(TOKENIZER, "韩版 连衣裙", 64) == text_ids(TOKENIZER, "韩版连衣裙", 64)
    assert text_ids(TOKENIZER, "Ｔ恤", 64) == text_ids(TOKENIZER, "t恤", 64)


def test_a_saved_tokenizer_reads_chinese_alike(tmp_path) -> None:
    TOKENIZER.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert [text_ids(again, title, 64) for title in TITLES] == [text_ids(TOKENIZER, title, 64) for title in TITLES]


ENGLISH = ["Red summer dress", "blue T-shirt, 100% cotton", "Home > Kitchen > Mugs", "قميص أحمر", "Größe XL"]


def bytewise(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE that knows nothing of scripts without spaces."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    return tokenizer


OURS, PLAIN = train_tokenizer(ENGLISH, 400), bytewise(ENGLISH, 400)


@given(st.lists(st.sampled_from([*"abcxyz", " ", "  ", "-", "ü", "ع", "5", "👗", "dress"]), max_size=20).map("".join))
def test_scripts_with_spaces_are_read_as_by_a_plain_byte_level_tokenizer(text: str) -> None:
    assert OURS.get_vocab() == PLAIN.get_vocab()
    assert text_ids(OURS, text, 99) == text_ids(PLAIN, text, 99)
