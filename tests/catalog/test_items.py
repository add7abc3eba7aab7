"""What is hidden is gone, what is not stays, and a misspelt field is an error instead of a leak."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import ConfigError, Photo, Product, ProductItem, hide_fields

SECRET = {
    "title": "TITLESECRET",
    "category": "CATEGORYSECRET",
    "images": "IMAGESECRET",
    "description": "DESCRIPTIONSECRET",
    "attributes.color": "COLORSECRET",
    "attributes.size": "SIZESECRET",
}
ITEM = ProductItem(
    Product(
        product_id="p",
        title=SECRET["title"],
        category=("Men", SECRET["category"]),
        attributes={"color": SECRET["attributes.color"], "size": (SECRET["attributes.size"], "M")},
        description=SECRET["description"],
        images=(f"{SECRET['images']}.png",),
        image_roles=("main",),
        boxes=((0, 0, 1, 1),),
    ),
    (Photo(f"{SECRET['images']}.png", digest="d"),),
)


@given(st.frozensets(st.sampled_from(sorted(SECRET))))
def test_hidden_fields_are_gone_and_others_stay(hide):
    seen = repr(hide_fields(ITEM, hide))
    for name, secret in SECRET.items():
        assert (secret in seen) == (name not in hide), name


@given(st.frozensets(st.sampled_from(sorted(SECRET))), st.frozensets(st.sampled_from(sorted(SECRET))))
def test_hiding_in_two_steps_is_hiding_at_once(one, other):
    assert hide_fields(hide_fields(ITEM, one), other) == hide_fields(ITEM, one | other)


def test_nothing_hidden_is_the_same_item():
    assert hide_fields(ITEM, frozenset()) is ITEM


def test_every_category_level_goes():
    assert hide_fields(ITEM, frozenset({"category"})).product.category == ()


@pytest.mark.parametrize("name", ["titel", "attribute", "color", "Attributes.color", "image"])
def test_misspelt_field_is_refused(name):
    with pytest.raises(ConfigError, match="unknown field to hide") as caught:
        hide_fields(ITEM, frozenset({name}))
    assert name in str(caught.value)


def test_all_attributes_go_at_once():
    assert hide_fields(ITEM, frozenset({"attributes"})).product.attributes == {}
    assert hide_fields(ITEM, frozenset({"attributes", "attributes.fit"})).product.attributes == {}


def test_attribute_that_the_product_lacks_is_no_error():
    assert hide_fields(ITEM, frozenset({"attributes.fit"})).product == ITEM.product
