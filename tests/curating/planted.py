"""Faults put into a clean shop on purpose, each under a name that a finding must give back."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from catalog import (
    Catalog,
    ImageRecord,
    Product,
    Query,
    QueryKind,
    Side,
    Signal,
    SplitConfig,
    sha256_hex,
    split_catalog,
)
from catalog.splits import split_position
from validation.curating import Rule

SPLIT = SplitConfig(test_frac=0.4, cut_time_s=1_735_000_000.0)
BEFORE, AFTER = SPLIT.cut_time_s - 86_400.0, SPLIT.cut_time_s + 86_400.0  # type: ignore[operator]


SAME_WORDS = (1, 2, 4)
"""Duplicates whose title is edited in case and signs alone: by their words they are variants too."""


def side_of_group(group_id: str) -> Side:
    """The side by the hash alone, computed here and not by the code under test."""
    position = split_position(SPLIT.salt, group_id)
    return Side.TEST if position < SPLIT.test_frac else Side.VAL if position < 0.5 else Side.TRAIN


@dataclass
class Planter:
    """Adds rows and pictures to a shop and remembers what each rule must find."""

    clean: Catalog
    products: list[Product] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    planted: dict[Rule, set[str]] = field(default_factory=dict)

    def catalog(self) -> Catalog:
        return replace(
            self.clean,
            products=(*self.clean.products, *self.products),
            queries=(*self.clean.queries, *self.queries),
            images=self.clean.images | self.images,
        )

    def originals(self, side: Side) -> list[Product]:
        """One product a group of that side, in the catalogue's order."""
        sides = split_catalog(self.clean, SPLIT).side_of
        first: dict[str, Product] = {}
        for row in self.clean.products:
            if sides[row.product_id] is side and len(row.images) > 1:
                first.setdefault(row.group_id, row)
        return list(first.values())

    def foreign_group(self, name: str, side: Side) -> str:
        """A new group id that the hash puts on that side."""
        return next(f"{name}-{n}" for n in range(1000) if side_of_group(f"{name}-{n}") is side)

    def picture(self, name: str, image: Image.Image, quality: int = 90) -> str:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        data, ref = buffer.getvalue(), f"images/{name}.jpg"
        (Path(self.clean.root) / ref).write_bytes(data)
        self.images[ref] = ImageRecord(ref, sha256_hex(data), image.width, image.height, len(data))
        return ref

    def copy_of(self, ref: str, name: str) -> str:
        """The picture at 70 % of its size and saved again at quality 60."""
        image = self.clean.photo(ref).load()
        small = image.resize((image.width * 7 // 10, image.height * 7 // 10), Image.Resampling.LANCZOS)
        return self.picture(name, small, quality=60)

    def new_picture(self, name: str, seed: int) -> str:
        cells = np.random.default_rng(seed).integers(0, 256, size=(9, 9, 3), dtype=np.uint8)
        return self.picture(name, Image.fromarray(cells).resize((120, 120), Image.Resampling.BICUBIC))

    def add(self, row: Product, **changes: object) -> Product:
        cleared = {"image_roles": (), "boxes": (), "extra": {}}
        made = Product.model_validate({**row.model_dump(), **cleared, **changes})
        self.products.append(made)
        return made

    def ask(self, key: str, products: tuple[str, ...], **fields: object) -> None:
        row = {"kind": QueryKind.TEXT, "text": f"words of {key}", "signal": Signal.PURCHASE, **fields}
        self.queries.append(Query.model_validate({"query_id": key, "product_ids": products, **row}))

    def expect(self, rule: Rule, name: str) -> None:
        self.planted.setdefault(rule, set()).add(name)


def plant(clean: Catalog) -> Planter:
    """Every kind of fault, and beside them what looks like one and is none."""
    planter = Planter(clean)
    test, train = planter.originals(Side.TEST), planter.originals(Side.TRAIN)
    _duplicates(planter, [*test[:3], *train[:3]])
    _leaked_variants(planter, train[3:6], Side.TEST)
    _leaked_variants(planter, test[3:5], Side.TRAIN)
    _leaked_copies(planter, train[6:9], Side.TEST)
    _wrong_times(planter, test[5:9], train[9:15])
    _query_photos(planter, test[9:12], train[15:17])
    _no_faults(planter, test[12], train[17])
    return planter


def _duplicates(planter: Planter, originals: list[Product]) -> None:
    edits = (
        lambda title: f"{title} NEW",
        lambda title: title.upper(),
        lambda title: f"  {title.replace(' ', '  ')}!",
        lambda title: f"Buy {title}",
        lambda title: title.title(),
        lambda title: f"{title} (sale)",
    )
    for number, (row, edit) in enumerate(zip(originals, edits, strict=True)):
        key = f"dup-{number}"
        refs = [planter.copy_of(row.images[0], key)]
        group = planter.foreign_group(f"dupgroup{number}", side_of_group(row.group_id))
        planter.add(row, product_id=key, group_id=group, title=edit(row.title or ""), images=refs)
        stamp = AFTER if side_of_group(row.group_id) is Side.TEST else BEFORE
        planter.ask(f"bought-{key}", (key,), timestamp=stamp)
        planter.expect(Rule.DUPLICATES, key)
        if number in SAME_WORDS:
            planter.expect(Rule.VARIANT_TITLES, key)
        planter.expect(Rule.NEAR_IDENTICAL_PHOTOS, key)


def _leaked_variants(planter: Planter, originals: list[Product], side: Side) -> None:
    """Another colour of an article, under a group id of its own that falls on another side."""
    for number, row in enumerate(originals):
        key = f"variant-{side}-{number}"
        group = planter.foreign_group(key, side)
        colours = {name: "magenta" for name in row.attributes if name in ("color", "colour")}
        picture = planter.new_picture(key, 1000 + number + 100 * (side is Side.TEST))
        title = f"{row.title} - Magenta, size XL"
        attributes = row.attributes | colours
        planter.add(row, product_id=key, group_id=group, title=title, attributes=attributes, images=[picture])
        planter.expect(Rule.VARIANT_TITLES, key)
        planter.expect(Rule.LEAKED_GROUPS, group)


def _leaked_copies(planter: Planter, originals: list[Product], side: Side) -> None:
    """The same picture under other words and another group: one shared photo, no duplicate."""
    for number, row in enumerate(originals):
        key = f"copy-{number}"
        group = planter.foreign_group(key, side)
        title = f"Wholly unlike wording number {number} zzyzx"
        refs = [planter.copy_of(row.images[-1], key), planter.new_picture(f"{key}-own", 2000 + number)]
        planter.add(row, product_id=key, group_id=group, title=title, attributes={}, images=refs)
        planter.expect(Rule.NEAR_IDENTICAL_PHOTOS, key)
        planter.expect(Rule.LEAKED_GROUPS, group)


def _wrong_times(planter: Planter, test: list[Product], train: list[Product]) -> None:
    for number, row in enumerate(train):
        planter.ask(f"late-{number}", (row.product_id,), timestamp=AFTER + number)
        planter.expect(Rule.LATE_PURCHASES, f"late-{number}")
    for number, row in enumerate(test):
        planter.ask(f"early-{number}", (row.product_id,), timestamp=BEFORE - number)
        planter.expect(Rule.EARLY_PURCHASES, f"early-{number}")
        planter.ask(f"undated-{number}", (row.product_id,))
        planter.expect(Rule.STAMPS_MISSING, f"undated-{number}")
    for number, stamp in enumerate((AFTER * 1000, -1.0, 0.0, float("nan"))):
        planter.ask(f"absurd-{number}", (test[number].product_id,), timestamp=stamp)
        planter.expect(Rule.STAMPS_ABSURD, f"absurd-{number}")
    planter.ask("both-sides", (test[0].product_id, train[0].product_id), timestamp=AFTER)
    planter.expect(Rule.ANSWERS_ON_SEVERAL_SIDES, "both-sides")


def _query_photos(planter: Planter, test: list[Product], train: list[Product]) -> None:
    for number, (row, other) in enumerate(zip(test, [*test[1:], test[0]], strict=True)):
        key = f"photo-of-another-{number}"
        ref = planter.copy_of(other.images[0], key)
        planter.ask(key, (row.product_id,), kind=QueryKind.PHOTO, text=None, image=ref, timestamp=AFTER)
        planter.expect(Rule.QUERY_PHOTO_OF_ANOTHER, key)
    for number, (row, other) in enumerate(zip(test, train, strict=False)):
        picture = planter.new_picture(f"asked-in-training-{number}", 3000 + number)
        again = planter.picture(f"asked-in-test-{number}", _reopened(planter, picture), quality=70)
        asked = {"kind": QueryKind.PHOTO, "text": None}
        planter.ask(f"train-photo-{number}", (other.product_id,), image=picture, timestamp=BEFORE, **asked)
        planter.ask(f"test-photo-{number}", (row.product_id,), image=again, timestamp=AFTER, **asked)
        planter.expect(Rule.QUERY_PHOTO_IN_TRAINING, f"test-photo-{number}")


def _no_faults(planter: Planter, test: Product, train: Product) -> None:
    """Sizes of one group with one text and one photo; another shop's words under another picture."""
    for row in (test, train):
        same = [planter.copy_of(row.images[0], f"same-group-{row.product_id}")]
        planter.add(row, product_id=f"same-group-{row.product_id}", images=same)
    group = planter.foreign_group("equaltext", side_of_group(test.group_id))
    planter.add(test, product_id="equal-text", group_id=group, images=[planter.new_picture("equal-text", 4000)])
    planter.expect(Rule.EQUAL_TEXT, "equal-text")
    planter.expect(Rule.VARIANT_TITLES, "equal-text")


def _reopened(planter: Planter, ref: str) -> Image.Image:
    return Image.open(Path(planter.clean.root) / ref).convert("RGB")
