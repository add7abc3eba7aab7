"""A Shopify product export: handles, options, colours, photographs, and what spreadsheets do to the file."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError
from catalog.sources.html_text import plain_text
from catalog.sources.shopify_cells import COLOUR_OPTIONS, Cells, by_colour, columns_of_header, options_of
from tests.catalog.pictures import picture_bytes
from tests.catalog.published import CDN, SHOPIFY_HEADER, load, shopify_row, write_fetched, write_shopify

TEE = [
    shopify_row(
        "tee",
        Title="Organic Tee",
        Body_HTML="<p>Soft &amp; light.</p>\n<ul><li>Cotton</li></ul>",
        Vendor="Acme",
        Product_Category="Apparel & Accessories > Clothing > Shirts",
        Type="T-shirts",
        Tags="summer, basics",
        Published="true",
        Option1_Name="Color",
        Option1_Value="Red",
        Option2_Name="Size",
        Option2_Value="S",
        Variant_SKU="t-r-s",
        Variant_Price="19.90",
        Image_Src=f"{CDN}red.jpg?v=1",
        Image_Position="1",
        Variant_Image=f"{CDN}red.jpg?v=2",
        Status="active",
    ),
    shopify_row(
        "tee",
        Option1_Value="Red",
        Option2_Value="M",
        Variant_SKU="t-r-m",
        Variant_Price="21.90",
        Image_Src=f"{CDN}blue.jpg",
        Image_Position="2",
        Variant_Image=f"{CDN}red.jpg?v=2",
    ),
    shopify_row(
        "tee",
        Option1_Value="Blue",
        Option2_Value="S",
        Variant_SKU="t-b-s",
        Variant_Price="20.00",
        Image_Src=f"{CDN}red-back.jpg",
        Image_Position="3",
        Image_Alt_Text="Organic tee in red, back",
        Variant_Image=f"{CDN}blue.jpg",
    ),
    shopify_row("tee", Image_Src=f"{CDN}label.jpg", Image_Position="4", Image_Alt_Text="Care label"),
]


def read(tmp_path, rows, image_root=None, on_error="stop", **file):
    path = write_shopify(tmp_path / "products_export.csv", rows, **file)
    return load("shopify", path, tmp_path / "work", on_error=on_error, image_root=image_root)


def fetched(tmp_path, *names):
    return str(write_fetched(tmp_path / "fetched", {f"{CDN}{name}": picture_bytes(i) for i, name in enumerate(names)}))


def test_a_product_is_a_colour_of_an_article_with_its_sizes(tmp_path):
    catalog = read(tmp_path, TEE)
    red, blue = catalog.products
    assert (red.product_id, blue.product_id) == ("tee/Red", "tee/Blue")
    assert red.group_id == blue.group_id == "tee"
    assert red.title == blue.title == "Organic Tee"
    assert red.attributes == {"Vendor": "Acme", "Color": "Red", "Size": ("S", "M")}
    assert blue.attributes == {"Vendor": "Acme", "Color": "Blue", "Size": "S"}
    assert red.category == ("Apparel & Accessories", "Clothing", "Shirts")
    assert red.description == "Soft & light.\n- Cotton"
    assert (red.price, blue.price) == (19.9, 20.0)
    assert red.extra["skus"] == ["t-r-s", "t-r-m"]


def test_type_and_tags_stay_out_of_what_an_encoder_reads(tmp_path):
    product = read(tmp_path, TEE).products[0]
    assert product.extra["tags"] == ["summer", "basics"]
    assert product.extra["type"] == "T-shirts"
    assert "T-shirts" not in str(product.attributes)


def test_photographs_go_to_the_colour_that_names_them(tmp_path):
    root = fetched(tmp_path, "red.jpg?v=2", "blue.jpg", "red-back.jpg", "label.jpg")
    catalog = read(tmp_path, TEE, image_root=root)
    kept = {
        product.product_id: [catalog.images[ref].num_bytes for ref in product.images] for product in catalog.products
    }
    sizes = [len(picture_bytes(number)) for number in range(4)]
    assert kept == {"tee/Red": [sizes[0], sizes[2]], "tee/Blue": [sizes[1]]}
    assert any("name none of them" in note for note in catalog.notes)


def test_a_colour_without_a_photograph_of_its_own_gets_those_that_name_none(tmp_path):
    rows = [dict(row) for row in TEE]
    rows[2] |= {"Variant Image": "", "Image Src": "", "Image Alt Text": ""}
    products = read(tmp_path, rows).products
    assert products[1].extra["image_urls"] == [f"{CDN}blue.jpg", f"{CDN}label.jpg"]
    assert products[0].extra["image_urls"] == [f"{CDN}red.jpg?v=2"]
    assert not any("name none of them left out" in note for note in read(tmp_path, rows).notes)


def test_a_photograph_that_names_two_colours_is_of_neither(tmp_path):
    rows = [dict(row) for row in TEE]
    rows.append(shopify_row("tee", Image_Src=f"{CDN}both.jpg", Image_Position="9", Image_Alt_Text="Red and Blue tee"))
    for product in read(tmp_path, rows).products:
        assert f"{CDN}both.jpg" not in product.extra["image_urls"]


def test_an_article_without_options_is_one_product_with_all_photographs_in_their_order(tmp_path):
    rows = [
        shopify_row("mug", Title="Mug", Option1_Name="Title", Option1_Value="Default Title", Variant_Price="5")
        | {"Image Src": f"{CDN}b.jpg", "Image Position": "2"},
        shopify_row("mug", Image_Src=f"{CDN}c.jpg", Image_Position="10"),
        shopify_row("mug", Image_Src=f"{CDN}a.jpg", Image_Position="1"),
    ]
    (product,) = read(tmp_path, rows).products
    assert product.product_id == product.group_id == "mug"
    assert product.attributes == {}
    assert product.extra["image_urls"] == [f"{CDN}{name}.jpg" for name in "abc"]


def test_sizes_alone_are_one_product(tmp_path):
    rows = [
        shopify_row("sock", Title="Sock", Option1_Name="Size", Option1_Value="S", Variant_Price="3"),
        shopify_row("sock", Option1_Value="M", Variant_Price="2.50"),
    ]
    (product,) = read(tmp_path, rows).products
    assert (product.product_id, product.attributes, product.price) == ("sock", {"Size": ("S", "M")}, 2.5)


@pytest.mark.parametrize("name", ["Colour", "COLOR", "颜色", "Farbe"])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_colour_option_is_known_by_its_name_wherever_it_stands(tmp_path, name, place):
    other = 3 if place != 3 else 1
    names = {f"Option{place} Name": name, f"Option{other} Name": "Size"}
    rows = [
        {"Handle": "x", "Title": "X", f"Option{place} Value": "红", f"Option{other} Value": "S"} | names,
        {"Handle": "x", f"Option{place} Value": "蓝", f"Option{other} Value": "S"},
    ]
    assert [product.product_id for product in read(tmp_path, rows).products] == ["x/红", "x/蓝"]


def test_colours_that_differ_in_letter_case_are_one(tmp_path):
    rows = [
        shopify_row("x", Title="X", Option1_Name="Color", Option1_Value="Navy", Variant_SKU="1"),
        shopify_row("x", Option1_Value="navy ", Variant_SKU="2"),
    ]
    (product,) = read(tmp_path, rows).products
    assert product.attributes == {"Color": "Navy"}
    assert product.extra["skus"] == ["1", "2"]


# --- files as spreadsheets leave them


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_line_ends_order_marks_and_separators_change_nothing(tmp_path, line_end, bom, delimiter):
    plain = read(tmp_path / "a", TEE)
    other = read(tmp_path / "b", TEE, line_end=line_end, bom=bom, delimiter=delimiter)
    assert other.digest == plain.digest


def test_quotes_commas_and_line_ends_stay_inside_their_cells(tmp_path):
    body = 'He said "warm",\r\nthen <b>left</b>\n\n'
    rows = [shopify_row("x", Title='The "Big", Tee', Body_HTML=body)]
    (product,) = read(tmp_path, rows).products
    assert product.title == 'The "Big", Tee'
    assert product.description == 'He said "warm",\nthen left'


def test_a_description_longer_than_the_csv_module_allows_is_read(tmp_path):
    rows = [shopify_row("x", Title="X", Body_HTML="<p>" + "word " * 60_000 + "</p>")]
    (product,) = read(tmp_path, rows).products
    assert len(product.description) == 5 * 60_000 - 1


def test_an_older_export_without_category_status_and_variant_image_is_read(tmp_path):
    header = [name for name in SHOPIFY_HEADER if name not in ("Product Category", "Status", "Variant Image")]
    rows = [{name: cell for name, cell in row.items() if name in header} for row in TEE]
    catalog = read(tmp_path, rows, header=header)
    assert [product.category for product in catalog.products] == [("T-shirts",), ("T-shirts",)]
    assert any("the Type taken for it" in note for note in catalog.notes)


def test_the_newer_names_of_the_columns_read_the_same(tmp_path):
    newer = {
        "Handle": "URL handle",
        "Body (HTML)": "Description",
        "Product Category": "Product category",
        "Published": "Published on online store",
        "Variant SKU": "SKU",
        "Variant Price": "Price",
        "Image Src": "Product image URL",
        "Image Position": "Image position",
        "Image Alt Text": "Image alt text",
        "Variant Image": "Variant image URL",
    } | {f"Option{number} {part}": f"Option{number} {part.lower()}" for number in "123" for part in ("Name", "Value")}
    rows = [{newer.get(name, name): cell for name, cell in row.items()} for row in TEE]
    header = [newer.get(name, name) for name in SHOPIFY_HEADER]
    assert read(tmp_path / "a", rows, header=header).digest == read(tmp_path / "b", TEE).digest


def test_metafields_become_attributes(tmp_path):
    column = "Fabric (product.metafields.shopify.fabric)"
    rows = [dict(TEE[0]) | {column: "cotton; linen; cotton"}]
    (product,) = read(tmp_path, rows, header=[*SHOPIFY_HEADER, column]).products
    assert product.attributes["Fabric"] == ("cotton", "linen")


def test_columns_of_shop_keeping_are_passed_over_and_others_are_kept(tmp_path):
    header = [*SHOPIFY_HEADER, "Google Shopping / MPN", "Season"]
    rows = [dict(TEE[0]) | {"Google Shopping / MPN": "7", "Season": "AW"}]
    catalog = read(tmp_path, rows, header=header)
    assert catalog.products[0].extra["Season"] == "AW"
    assert "Google Shopping / MPN" not in catalog.products[0].extra
    assert any("Season" in note and "Google" not in note for note in catalog.notes)


def test_the_shop_keeping_columns_of_the_newer_export_are_passed_over(tmp_path):
    more = [
        *("Barcode", "Option1 Linked To", "Compare-at price", "Cost per item", "Charge tax", "Tax code"),
        *("Unit price total measure", "Inventory tracker", "Inventory quantity", "Continue selling when out of stock"),
        *("Weight value (grams)", "Weight unit for display", "Requires shipping", "Fulfillment service"),
        *("Gift card", "SEO title", "Google Shopping / Gender"),
    ]
    header = [name for name in SHOPIFY_HEADER if name != "Gift Card"]
    rows = [{name: cell for name, cell in TEE[0].items() if name in header} | dict.fromkeys(more, "1")]
    catalog = read(tmp_path, rows, header=[*header, *more])
    assert not catalog.products[0].extra.keys() & set(more)
    assert not any("unknown columns" in note for note in catalog.notes)


def test_a_price_that_is_no_number_names_the_column_of_this_export(tmp_path):
    rows = [{"Handle": "x", "Title": "X", "Price": "1,299.00", "SKU": "1"}]
    with pytest.raises(CatalogError, match=r"Price must be a number such as 1299\.50, got 1,299\.00") as caught:
        read(tmp_path, rows, header=["Handle", "Title", "Price", "SKU"])
    assert "Variant Price" not in str(caught.value)


def test_a_photograph_outside_the_folder_is_a_bad_row(tmp_path):
    catalog = read(tmp_path, [*TEE, shopify_row("mug", Title="Mug", Image_Src="../x.jpg")], on_error="quarantine")
    assert [row.product_id for row in catalog.bad_rows] == [""]
    assert "leaves the catalogue's folder" in catalog.bad_rows[0].reason
    assert len(catalog.products) == 2


def test_drafts_are_left_out_and_told(tmp_path):
    catalog = read(tmp_path, [*TEE, shopify_row("half", Title="Half done", Status="draft")])
    assert {product.group_id for product in catalog.products} == {"tee"}
    assert any("draft" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"Title": "No handle"}, "no Handle"),
        ({"Handle": "x", "Title": "X", "Variant Price": "12,50"}, "must be a number"),
        ({"Handle": "x", "Variant Price": "1"}, "needs a title or at least one image"),
        ({"Handle": "x", "Image Src": "https://a.example/1.jpg"}, "not on disk"),
        ({"Handle": "tee", "Title": "Again"}, ""),
    ],
)
def test_rows_that_cannot_be_used_say_why(tmp_path, row, reason):
    rows = [*TEE, shopify_row("mug", Title="Mug"), row]
    catalog = read(tmp_path, rows, on_error="quarantine")
    if reason:
        assert len(catalog.bad_rows) == 1
        assert reason in catalog.bad_rows[0].reason
    else:
        # A handle that comes back later is its own article; without a colour it has another id.
        assert [product.product_id for product in catalog.products][-1] == "tee"


def test_a_row_with_too_many_cells_is_told_by_its_line(tmp_path):
    path = write_shopify(tmp_path / "e.csv", [shopify_row("a", Title="A", Body_HTML="two\nlines")])
    path.write_text(path.read_text() + "b,B" + "," * 40 + "x\r\n" + "c,C\r\n", newline="")
    catalog = load("shopify", path, tmp_path, on_error="quarantine")
    assert [product.product_id for product in catalog.products] == ["a", "c"]
    assert [row.where for row in catalog.bad_rows] == ["e.csv:4"]
    assert "cells where the header has" in catalog.bad_rows[0].reason


def test_a_row_that_is_not_utf_8_is_told_and_the_others_are_read(tmp_path):
    path = write_shopify(tmp_path / "e.csv", [shopify_row("a", Title="A"), shopify_row("b", Title="B")])
    path.write_bytes(path.read_bytes().replace(b"b,B", "b,Bär".encode("latin-1")))
    catalog = load("shopify", path, tmp_path, on_error="quarantine")
    assert [product.product_id for product in catalog.products] == ["a"]
    assert "not UTF-8" in catalog.bad_rows[0].reason


def test_what_is_no_export_is_refused_with_the_nearest_column(tmp_path):
    path = write_shopify(tmp_path / "e.csv", [{"Handel": "x", "Title": "X"}], header=["Handel", "Title"])
    with pytest.raises(CatalogError, match="no Shopify") as caught:
        load("shopify", path, tmp_path)
    assert "did you mean Handel?" in str(caught.value)


def test_an_export_has_no_queries_and_says_so(tmp_path):
    catalog = read(tmp_path, TEE)
    assert catalog.queries == ()
    assert any("no queries" in note for note in catalog.notes)


# --- options and HTML, whatever they hold

NAMES = st.sampled_from(["Size", "Material", "Color", "颜色", "Style"])
VALUES = st.sampled_from(["S", "M", "Red", "red", "Blue", "黑", ""])


@given(
    st.lists(NAMES, min_size=1, max_size=3, unique=True).flatmap(
        lambda names: st.tuples(st.just(names), st.lists(st.tuples(*[VALUES] * len(names)), min_size=1, max_size=8))
    )
)
def test_every_option_of_every_variant_is_found_in_exactly_one_product(drawn):
    names, variants = drawn
    columns = columns_of_header(SHOPIFY_HEADER)
    rows = []
    for place, values in enumerate(variants):
        row = {f"Option{number} Value": value or None for number, value in enumerate(values, 1)}
        if place == 0:
            row |= {f"Option{number} Name": name for number, name in enumerate(names, 1)}
        rows.append(Cells(row | {"Variant SKU": f"sku{place}"}, columns))
    options = [options_of(rows[0], row) for row in rows]
    assert options == [{name: value for name, value in zip(names, values, strict=True) if value} for values in variants]
    groups = by_colour(zip(options, rows, strict=True))
    assert sorted(sku for group in groups for sku in group.skus) == sorted(f"sku{i}" for i in range(len(rows)))
    colours = [group.colour.casefold() for group in groups]
    assert len(colours) == len(set(colours))
    for one in options:
        first = next((value for name, value in one.items() if name.casefold() in COLOUR_OPTIONS), "")
        home = groups[colours.index(first.casefold())]
        for name, value in one.items():
            held = home.options[name]
            assert value in held or name.casefold() in COLOUR_OPTIONS


@given(st.text(max_size=80))
def test_any_text_passes_for_html(text):
    found = plain_text(text)
    assert not any(line != line.strip() for line in found.split("\n"))


def test_html_becomes_lines_without_scripts_and_styles():
    html = "<style>p {color: red}</style><h2>Care</h2><div>Wash<br>cold</div><script>alert('<p>x</p>')</script>"
    assert plain_text(html + "<table><tr><td>A</td><td>1</td></tr></table>") == "Care\nWash\ncold\nA 1"


@given(st.lists(st.lists(st.text(max_size=12).filter(lambda t: "\x00" not in t), min_size=2, max_size=2), max_size=5))
def test_rows_of_csv_equal_those_of_the_standard_reader(rows):
    from catalog.sources.delimited import csv_rows

    rows = [[cell.replace("\r", "\n").encode("utf-8", "ignore").decode() for cell in row] for row in rows]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    found = [row for _, row in csv_rows(io.BytesIO(buffer.getvalue().encode()), "x.csv")]
    assert found == [{"a": one or None, "b": two or None} for one, two in rows if one or two]
