"""Names from outside in Markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.markdown import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("red shirt, 红色 (new)", r"red shirt, 红色 \(new\)"),
        ("![x](http://x.example/i.png)", r"\!\[x\]\(http\://x.example/i.png\)"),
        ("a\\|b", r"a\\\|b"),
        ("a\n\n# b", r"a \# b"),
        ("www.example.org", r"www\.example.org"),
        ("@name #12", "\\@\u200bname \\#\u200b12"),
        ("me@example.org", "me\\@\u200bexample.org"),
        ("", ""),
    ],
)
def test_what_would_be_markup_is_text(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_nothing_that_begins_markup_is_left_and_every_sign_is_there(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|&!]", shown)
    assert not re.search(r"[@#]\w|://www|\n", shown)
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u200b", "") == " ".join(text.split()).replace("\u200b", "")
