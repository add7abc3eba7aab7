"""A contact sheet of a catalogue: what a person looks at before believing any number."""

from __future__ import annotations

import os
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from catalog.fonts import picture_font, pieces_of
from catalog.rows import Product, Query, QueryKind

_GAP_PX = 10
_INK, _PALE, _PAPER, _RULE = (28, 28, 30), (120, 120, 126), (255, 255, 255), (226, 70, 60)


def render_sheet(
    products: Sequence[Product],
    root: str,
    out_png: str,
    *,
    queries: Sequence[Query] = (),
    columns: int = 8,
    thumb_px: int = 132,
    views_per_product: int = 1,
    draw_boxes: bool = False,
) -> None:
    """Lay products out as a shop page, and below them shoppers' queries beside what they bought.

    Args:
        products: Shown in this order; also looked up for the queries' answers.
        root: Folder that image references are relative to.
        out_png: File to write; a palette PNG, since sheets live in repositories.
        queries: Shown with their photograph or words, an arrow, and the product bought.
        columns: Products a row; queries take two places each.
        thumb_px: Side of a photograph on the sheet, pixels.
        views_per_product: Photographs side by side for each product.
        draw_boxes: Whether to outline the true core boxes.
    """
    cell_w, cell_h = thumb_px * views_per_product + _GAP_PX, thumb_px + 52
    per_row = max(1, columns // views_per_product)
    query_w, query_h = 2 * thumb_px + 18, thumb_px + 38
    by_id = {product.product_id: product for product in products}
    answerable = [query for query in queries if query.product_ids and query.product_ids[0] in by_id]
    width = per_row * cell_w + _GAP_PX
    queries_per_row = max(1, (width - _GAP_PX) // query_w)
    rows, query_rows = -(-len(products) // per_row), -(-len(answerable) // queries_per_row)
    height = rows * cell_h + (30 + query_rows * query_h if answerable else 0) + 2 * _GAP_PX
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    written = [
        *(text for one in products for text in (one.title or "", *one.category)),
        *(q.text or "" for q in queries),
    ]
    bold, small = picture_font(11, written), picture_font(9.5, written)

    def paste(ref: str, box: tuple[float, float, float, float] | None, x: int, y: int) -> None:
        with Image.open(os.path.join(root, ref)) as stored:
            photo = stored.convert("RGB")
            if draw_boxes and box:
                ImageDraw.Draw(photo).rectangle([box[0], box[1], box[2] - 1, box[3] - 1], outline=_RULE, width=2)
            sheet.paste(photo.resize((thumb_px, thumb_px), Image.Resampling.LANCZOS), (x, y))

    for i, product in enumerate(products):
        x, y = _GAP_PX + (i % per_row) * cell_w, _GAP_PX + (i // per_row) * cell_h
        boxes = product.boxes or (None,) * len(product.images)
        for k, (ref, box) in enumerate(zip(product.images[:views_per_product], boxes, strict=False)):
            paste(ref, box, x + k * thumb_px, y)
        room = cell_w - _GAP_PX
        pen.text((x, y + thumb_px + 3), _fit(product.title or "(no title)", room, bold), font=bold, fill=_INK)
        path = " > ".join(product.category[-2:])
        pen.text((x, y + thumb_px + 17), _fit(path, room, small), font=small, fill=_PALE)
        price = "" if product.price is None else f"{product.price:.2f}"
        pen.text((x, y + thumb_px + 29), price, font=bold, fill=_RULE)
    if answerable:
        y = rows * cell_h + _GAP_PX
        pen.text(
            (_GAP_PX, y + 4),
            "Shoppers: what was asked, and what was bought",
            font=ImageFont.load_default(size=14),
            fill=_INK,
        )
        for i, query in enumerate(answerable):
            x = _GAP_PX + (i % queries_per_row) * query_w
            top = y + 30 + (i // queries_per_row) * query_h
            if query.image:
                paste(query.image, query.box, x, top)
            else:
                pen.rectangle([x, top, x + thumb_px - 1, top + thumb_px - 1], fill=(244, 244, 246))
                for k, line in enumerate(_wrap(query.text or "", thumb_px - 16, bold)):
                    pen.text((x + 8, top + thumb_px // 3 + 14 * k), line, font=bold, fill=_INK)
            left, middle = x + thumb_px + 1, top + thumb_px // 2
            pen.line([left, middle, left + 10, middle], fill=_PALE, width=2)
            pen.polygon([(left + 7, middle - 4), (left + 12, middle), (left + 7, middle + 4)], fill=_PALE)
            bought = by_id[query.product_ids[0]]
            paste(bought.images[0], None, x + thumb_px + 15, top)
            words = f"{query.kind}: {query.text}" if query.text else str(query.kind)
            pen.text((x, top + thumb_px + 3), _fit(words, 2 * thumb_px, small), font=small, fill=_INK)
            answers = len(query.product_ids)
            fact = f"{query.signal}, {answers} product{'s' if answers > 1 else ''}"
            pen.text((x, top + thumb_px + 15), fact, font=small, fill=_PALE)
    # A ninth of the pixels, and k-means ended at 200 changes, give as good a palette in a fiftieth of the time.
    sample = sheet.resize((width // 3, height // 3), Image.Resampling.NEAREST)
    palette = sample.quantize(256, kmeans=200)
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(out_png, optimize=True)


def pick_varied(products: Sequence[Product], count: int) -> list[Product]:
    """The first `count` products taken one leaf category after the other, at most two colours of an article."""
    shelves: dict[tuple[str, ...], list[Product]] = {}
    colours: dict[str, int] = {}
    for product in products:
        colours[product.group_id] = colours.get(product.group_id, 0) + 1
        if colours[product.group_id] <= 2:
            shelves.setdefault(product.category, []).append(product)
    longest = max((len(shelf) for shelf in shelves.values()), default=0)
    turns = [shelf[turn] for turn in range(longest) for shelf in shelves.values() if turn < len(shelf)]
    return turns[:count]


def pick_queries(products: Sequence[Product], queries: Sequence[Query], count: int) -> list[Query]:
    """Up to `count` queries that `products` answer, one a leaf category first, kinds in turn."""
    category = {product.product_id: product.category for product in products}
    kinds = (QueryKind.PHOTO, QueryKind.TEXT, QueryKind.PHOTO, QueryKind.BOTH)
    left = [query for query in queries if query.product_ids and query.product_ids[0] in category]
    picked: list[Query] = []
    seen: set[tuple[str, ...]] = set()
    while left and len(picked) < count:
        wanted = kinds[len(picked) % len(kinds)]
        best = min(left, key=lambda q: (category[q.product_ids[0]] in seen, q.kind is not wanted))
        left.remove(best)
        picked.append(best)
        seen.add(category[best.product_ids[0]])
    return picked


def _fit(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut `text` to `width_px`."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text.rstrip() + "..."


def _wrap(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for piece in pieces_of(text):
        longer = lines[-1] + piece
        if font.getlength(longer.rstrip()) <= width_px or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(piece)
    return [line.rstrip() for line in lines[:4]]
