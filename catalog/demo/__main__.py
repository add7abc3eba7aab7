"""`python -m catalog.demo`: draw the demo shop and look at it."""

# ruff: noqa: T201  (a command, not a room: it speaks to a person)

from __future__ import annotations

import argparse
import json
import os
import sys

from pydantic import ValidationError

from catalog.config import DemoConfig
from catalog.demo.sheet import pick_queries, pick_varied, render_sheet
from catalog.demo.shop import render_demo
from catalog.errors import MoonError

_EPILOG = """\
examples:
  python -m catalog.demo --out /tmp/shop                        600 products, rows and pictures
  python -m catalog.demo --out /tmp/shop --sheet sheet.png      and a page to look at
  python -m catalog.demo --out /tmp/shop --sheet boxes.png --boxes --views 3
                                                                the true core boxes, three views a product

What is written is a catalogue in the folder format: products.jsonl, queries.jsonl and images/. Train on it, or on
your own folder of the same form, with `catalog: {source: folder, path: /tmp/shop}` in a recipe.
"""


def _parser() -> argparse.ArgumentParser:
    defaults = DemoConfig()
    parser = argparse.ArgumentParser(
        prog="python -m catalog.demo",
        description="Draw the demo shop: seeded product photographs, titles, attributes and simulated shoppers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder to write the shop into; made where it is absent")
    parser.add_argument("--products", type=int, default=defaults.num_products, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another seed, another shop (%(default)s)")
    parser.add_argument("--size", type=int, default=defaults.image_size_px, help="side, pixels (default %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="drawing processes; 0: one a core (default)")
    parser.add_argument("--sheet", help="also write a contact sheet of the first products to this PNG")
    parser.add_argument("--sheet-products", type=int, default=40, help="products on the sheet (default %(default)s)")
    parser.add_argument("--sheet-queries", type=int, default=12, help="queries on the sheet (default %(default)s)")
    parser.add_argument("--columns", type=int, default=8, help="photographs a row of the sheet (default %(default)s)")
    parser.add_argument(
        "--thumb", type=int, default=112, help="side of a photograph there, pixels (default %(default)s)"
    )
    parser.add_argument("--views", type=int, default=1, help="photographs a product on the sheet (default %(default)s)")
    parser.add_argument("--boxes", action="store_true", help="outline the true core boxes on the sheet")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Draw the shop that the command line asks for; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        config = DemoConfig(
            num_products=asked.products, seed=asked.seed, image_size_px=asked.size, num_workers=asked.workers
        )
        products, queries = render_demo(config, asked.out, _say_progress)
        for name, rows in (("products", products), ("queries", queries)):
            with open(os.path.join(asked.out, f"{name}.jsonl"), "w", encoding="utf-8") as stream:
                for row in rows:
                    fields = row.model_dump(mode="json", exclude_defaults=True)
                    stream.write(json.dumps(fields, ensure_ascii=False) + "\n")
    except (MoonError, ValidationError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    print(f"\n{len(products)} products and {len(queries)} queries in {asked.out}")
    if asked.sheet:
        shown = pick_varied(products, asked.sheet_products)
        render_sheet(
            shown,
            asked.out,
            asked.sheet,
            queries=pick_queries(shown, queries, asked.sheet_queries),
            columns=asked.columns,
            thumb_px=asked.thumb,
            views_per_product=asked.views,
            draw_boxes=asked.boxes,
        )
        print(f"sheet: {asked.sheet}")
    return 0


def _say_progress(done: int, total: int) -> None:
    print(f"\rdrawing {done}/{total}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
