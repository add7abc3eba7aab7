from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.freezing.plain import from_plain, to_plain


class Kind(StrEnum):
    ONE = "one"
    TWO = "two"


@dataclass(frozen=True)
class Inner:
    name: str
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Other:
    weight: float


@dataclass(frozen=True)
class Outer:
    item: Inner | Other
    kinds: frozenset[str]
    pairs: tuple[tuple[str, str], ...]
    kind: Kind
    flag: bool
    table: dict[str, tuple[int, float]]
    maybe: Inner | None = None
    positions: tuple[int, ...] | None = None


INNER = st.builds(Inner, st.text(), st.lists(st.integers(), max_size=3).map(tuple))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OUTER = st.builds(
    Outer,
    INNER | st.builds(Other, FINITE),
    st.frozensets(st.text(max_size=4)),
    st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    st.sampled_from(Kind),
    st.booleans(),
    st.dictionaries(st.text(), st.tuples(st.integers(), FINITE), max_size=3),
    st.none() | INNER,
    st.none() | st.lists(st.integers(), max_size=3).map(tuple),
)


@given(OUTER)
def test_what_goes_through_json_comes_back_equal_and_of_the_same_types(value: Outer) -> None:
    text = json.dumps(to_plain(value, {}), allow_nan=False)
    back = from_plain(Outer, json.loads(text), {})
    assert back == value
    assert type(back.item) is type(value.item)
    assert json.dumps(to_plain(back, {})) == text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flag": 1}, "flag"),
        ({"kind": "three"}, "kind"),
        ({"item": {"nobody": 1}}, "item"),
        ({"item": {"name": "a", "places": ["1"]}}, "places"),
        ({"item": {"name": "a", "places": [True]}}, "places"),
        ({"pairs": [["a"]]}, "pairs"),
        ({"pairs": "ab"}, "pairs"),
        ({"table": {"a": [1]}}, "table"),
        ({"later": 1}, "later"),
    ],
)
def test_data_of_another_shape_is_refused_by_name(change: dict[str, object], told: str) -> None:
    plain = to_plain(Outer(Inner("a"), frozenset(), (), Kind.ONE, True, {}), {})
    with pytest.raises(ValueError, match=told):
        from_plain(Outer, plain | change, {})


def test_an_absent_field_keeps_its_default_and_a_needed_one_is_missed() -> None:
    assert from_plain(Inner, {"name": "a"}, {}) == Inner("a")
    with pytest.raises(ValueError, match="missing"):
        from_plain(Inner, {"places": []}, {})


def test_what_would_not_come_back_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        to_plain(Inner(b"a"), {})  # type: ignore[arg-type]
