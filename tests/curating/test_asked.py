"""Photographs that shoppers asked with, in shops of a few rows."""

from __future__ import annotations

from catalog import QueryKind
from tests.curating.shops import bought, on_test, product, shop
from validation.curating.asked import keep_photos_apart
from validation.curating.photos import PhotoLinks


def test_a_picture_of_a_duplicate_that_was_dropped_is_no_picture_of_another_article() -> None:
    asked = bought("q", "a", text="", kind=QueryKind.PHOTO, image="q.png").model_copy(update={"text": None})
    rows = shop([product("a"), product("b")], [asked])
    for sellers, kept in ((("a", "dropped"), ["q"]), (("dropped",), ["q"]), (("a", "b"), [])):
        photos = PhotoLinks({}, {"q": "d"}, {}, {"d": sellers})
        left, found = keep_photos_apart(rows, on_test(rows), photos)
        assert [query.query_id for query in left.queries] == kept, sellers
        assert [own.count for own in found] == [1 - len(kept), 0]
