"""Label texts never collide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.labels import attribute_label, category_label

levels = st.lists(st.text(st.characters(blacklist_characters=">"), min_size=1).map(str.strip).filter(bool), min_size=1)


@given(levels, levels)
def test_different_paths_read_differently(one, other):
    assert (category_label(one) == category_label(other)) == (one == other)


def test_texts():
    assert category_label(("Men",)) == "Men"
    assert category_label(("Men", "Tops", "Tees")) == "Men > Tops > Tees"
    assert attribute_label("eco_collection", "Yes") == "eco collection: Yes"
    with pytest.raises(ValueError, match="at least one level"):
        category_label(())
