"""One self-contained page of the data checks: verdict, findings with pictures, what was set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from catalog.catalog import BadRow, Catalog
from catalog.images import ImageLimits
from catalog.labels import category_label
from catalog.splits import Side, Splits
from validation.checks import CHECKS, Level, Suite
from validation.data.alike import Lookalikes
from validation.data.expectations_view import expectations_html
from validation.data.style import STYLE
from validation.data.thumbnails import Thumbnails
from validation.data.verdict import Finding

_MAX_BARS = 24
_MAX_SET_ASIDE = 100
_SHEET_PHOTOS = 24
_PAIRS_SHOWN = 4


def render_page(
    catalog: Catalog,
    kept: Catalog,
    splits: Splits,
    findings: Sequence[Finding],
    quarantined: Sequence[BadRow],
    reason: str,
    results: dict[Suite, Any],
    alike: Lookalikes,
    limits: ImageLimits,
) -> str:
    """The page as HTML; it loads nothing and runs nothing.

    Args:
        catalog: As it was checked.
        kept: What is left of it.
        splits: Sides of products and queries.
        findings: Errors first.
        quarantined: What was set aside.
        reason: Why the catalogue did not pass; empty when it did.
        results: Great Expectations' result of each suite.
        alike: Partners of near-identical photos, to show them side by side.
        limits: For decoding the photos shown.
    """
    photos = Thumbnails(catalog, limits)
    parts = [
        _verdict(catalog, findings, quarantined, reason),
        _counts(catalog, kept, splits),
        _findings(findings, photos, alike),
        _set_aside(quarantined),
        _notes(catalog),
        _sheet(catalog, photos),
        _profile(catalog),
        _expectations(results),
    ]
    # Titles and ids come from outside: beside the escaping, the policy keeps any script or request from happening.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Data checks of {escape(catalog.name)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def _verdict(catalog: Catalog, findings: Sequence[Finding], quarantined: Sequence[BadRow], reason: str) -> str:
    num_errors = sum(finding.level is Level.ERROR for finding in findings)
    num_warnings = len(findings) - num_errors
    word, tone = ("Stopped", "error") if reason else ("Passed", "good")
    told = "What is left may be trained on." if quarantined else "This catalogue may be trained on."
    told = escape(reason) or told
    return (
        f'<header><p class="eyebrow">Data checks</p><h1>{escape(catalog.name)}'
        f'<span class="pill {tone}">{word}</span></h1><p class="lead">{told}</p>'
        f'<p class="muted">{num_errors} errors · {num_warnings} warnings · {len(quarantined)} rows and photos set aside'
        f" · catalogue {catalog.digest[:12]}</p></header>"
    )


def _counts(catalog: Catalog, kept: Catalog, splits: Splits) -> str:
    def sided(numbers: Iterable[int]) -> str:
        return "".join(f"<td>{number:,}</td>" for number in numbers)

    sides = Counter(splits.side_of.values())
    group_side = {product.group_id: splits.side_of[product.product_id] for product in catalog.products}
    groups = Counter(group_side.values())
    refs = {ref for product in catalog.products for ref in product.images}
    asked = {query.image for query in catalog.queries if query.image}
    kept_refs = {ref for product in kept.products for ref in product.images}
    rows = (
        ("Products", len(catalog.products), len(kept.products), [sides[side] for side in Side]),
        ("Groups", len(group_side), len({product.group_id for product in kept.products}), [groups[s] for s in Side]),
        ("Product photos", len(refs), len(kept_refs), None),
        ("Queries", len(catalog.queries), len(kept.queries), [len(splits.queries.get(side, ())) for side in Side]),
        ("Query photos", len(asked), len({query.image for query in kept.queries if query.image}), None),
    )
    body = "".join(
        f"<tr><th>{name}</th><td>{seen:,}</td><td>{left:,}</td>{sided(by_side) if by_side else '<td></td>' * 3}</tr>"
        for name, seen, left, by_side in rows
    )
    heads = "".join(f"<th>{side}</th>" for side in Side)
    return (
        '<section><table class="counts"><thead><tr><th></th><th>checked</th><th>kept</th>'
        f"{heads}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _findings(findings: Sequence[Finding], photos: Thumbnails, alike: Lookalikes) -> str:
    if not findings:
        return '<section><h2>Findings</h2><p class="lead">None. Every check was met.</p></section>'
    return "<section><h2>Findings</h2>" + "".join(_card(finding, photos, alike) for finding in findings) + "</section>"


def _card(finding: Finding, photos: Thumbnails, alike: Lookalikes) -> str:
    examples = "".join(f"<li>{escape(example)}</li>" for example in finding.examples)
    return (
        f'<article class="card {finding.level}"><h3>{escape(finding.text)}'
        f'<span class="pill {finding.level}">{finding.level}</span></h3>'
        f'<p class="muted"><code>{finding.check}</code> · to mend: {escape(finding.fix)}</p>'
        f'<div class="beside">{_pictures(finding, photos, alike)}<ul class="examples">{examples}</ul></div></article>'
    )


def _pictures(finding: Finding, photos: Thumbnails, alike: Lookalikes) -> str:
    """The photos a finding is about: pairs side by side for look-alikes, a slot with the reason for broken ones."""
    if finding.suite is Suite.IMAGES:
        refs = [example.split(": ")[0].partition(" ")[2] for example in finding.examples]
    elif finding.suite is Suite.QUERIES:
        by_id = {query.query_id: query.image for query in photos.catalog.queries}
        refs = [by_id.get(example.split(": ")[0]) or "" for example in finding.examples]
    else:
        refs = []
    shown = []
    for ref in dict.fromkeys(ref for ref in refs if ref in photos.catalog.images):
        partner = _partner(finding.check, photos.catalog.images[ref].digest, alike)
        both = photos.figure(ref) + (photos.figure(alike.uses[partner].refs[0]) if partner else "")
        shown.append(f'<div class="pair">{both}</div>')
    return f'<div class="pairs">{"".join(shown[:_PAIRS_SHOWN])}</div>' if shown else ""


def _partner(check: str, digest: str, alike: Lookalikes) -> str | None:
    partners = {
        "near_identical_across_groups": alike.in_other_group,
        "near_identical_across_sides": alike.on_test_side,
        "query_photo_near_gallery": alike.in_gallery,
    }
    return partners.get(check, {}).get(digest)


def _set_aside(quarantined: Sequence[BadRow]) -> str:
    if not quarantined:
        return ""
    body = "".join(
        f"<tr><td><code>{escape(row.where)}</code></td><td>{escape(row.product_id)}</td><td>{escape(row.reason)}</td></tr>"
        for row in quarantined[:_MAX_SET_ASIDE]
    )
    more = len(quarantined) - _MAX_SET_ASIDE
    rest = f'<p class="muted">and {more:,} more, all in the quarantine file</p>' if more > 0 else ""
    return (
        "<section><h2>Set aside</h2><table><thead><tr><th>where</th><th>product</th><th>reason</th></tr></thead>"
        f"<tbody>{body}</tbody></table>{rest}</section>"
    )


def _notes(catalog: Catalog) -> str:
    if not catalog.notes:
        return ""
    lines = "".join(f"<li>{escape(note)}</li>" for note in catalog.notes)
    return f"<section><h2>What ingestion changed</h2><ul>{lines}</ul></section>"


def _sheet(catalog: Catalog, photos: Thumbnails) -> str:
    """A look at the photographs, spread evenly over the catalogue."""
    titled = [
        (product.images[0], product.title or product.product_id) for product in catalog.products if product.images
    ]
    titled = titled or [(query.image, query.label or query.query_id) for query in catalog.queries if query.image]
    step = max(1, len(titled) // _SHEET_PHOTOS)
    figures = "".join(photos.figure(ref, caption) for ref, caption in titled[::step][:_SHEET_PHOTOS])
    return f'<section><h2>A look at the photos</h2><div class="sheet">{figures}</div></section>' if figures else ""


def _profile(catalog: Catalog) -> str:
    leaves = Counter(category_label(product.category) for product in catalog.products if product.category)
    labels = Counter(query.label for query in catalog.queries if query.label)
    names = Counter(name for product in catalog.products for name in product.attributes)
    parts = [
        _bars("Leaf categories, products", leaves, max(leaves.values(), default=0)),
        _bars("Attributes, share of products", names, len(catalog.products), as_pct=True),
        _bars("Labels, photos", labels, max(labels.values(), default=0)),
    ]
    return f'<section><h2>What the catalogue holds</h2><div class="columns">{"".join(parts)}</div></section>'


def _bars(title: str, sizes: Counter[str], full: int, as_pct: bool = False) -> str:
    if not sizes:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{f'{100 * size / full:.0f} %' if as_pct else f'{size:,}'}</td>"
        f'<td class="bar"><div style="width:{100 * size / full:.1f}%"></div></td></tr>'
        for name, size in sizes.most_common(_MAX_BARS)
    )
    more = f'<p class="muted">and {len(sizes) - _MAX_BARS} more</p>' if len(sizes) > _MAX_BARS else ""
    return f'<div><h3>{title}</h3><table class="bars"><tbody>{rows}</tbody></table>{more}</div>'


def _expectations(results: dict[Suite, Any]) -> str:
    blocks = []
    for suite, result in results.items():
        met = sum(bool(one.success) for one in result.results)
        blocks.append(
            f"<details><summary>{suite}: {met} of {len(result.results)} expectations met</summary>"
            f'<div class="gx">{expectations_html(result, prefix=suite)}</div></details>'
        )
    asked = len(CHECKS)
    return (
        f"<section><h2>Every expectation</h2><p class='muted'>{asked} checks are known; a suite without rows is not "
        f"run. Rendered by Great Expectations.</p>{''.join(blocks)}</section>"
    )
