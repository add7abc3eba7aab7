"""Photographs that shoppers asked with, and that must be nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from catalog.catalog import Catalog
from catalog.splits import Side
from validation.curating.findings import Found, Rule, found
from validation.curating.photos import PhotoLinks, is_asked_with_photo


def keep_photos_apart(catalog: Catalog, side_of: Mapping[str, Side], photos: PhotoLinks) -> tuple[Catalog, list[Found]]:
    """Drop test queries whose photo is, or nearly is, a picture of another article or of a query asked in training.

    A photo that is a picture of the answer's own group is left to `build_eval_set`, which takes the picture out of the
    gallery. Queries marked as augmented are edits of a catalogue photo by their own word and stay.
    """
    group_of = {row.product_id: row.group_id for row in catalog.products}
    in_training: dict[str, str] = {}
    for query in sorted(catalog.queries, key=lambda query: query.query_id):
        digest = photos.of_query.get(query.query_id)
        if digest and not _is_test(query.product_ids, side_of):
            in_training.setdefault(digest, query.query_id)
    of_another, trained = {}, {}
    for query in catalog.queries:
        digest = photos.of_query.get(query.query_id)
        if digest is None or not is_asked_with_photo(query) or not _is_test(query.product_ids, side_of):
            continue
        answers = {group_of[key] for key in query.product_ids if key in group_of}
        strangers = sorted(key for key in photos.sellers(digest) if group_of.get(key, "") not in answers | {""})
        same = sorted(in_training[one] for one in photos.same(digest) if one in in_training)
        if strangers:
            of_another[query.query_id] = strangers[0]
        elif same:
            trained[query.query_id] = same[0]
    gone = {*of_another, *trained}
    kept = tuple(query for query in catalog.queries if query.query_id not in gone)
    return replace(catalog, queries=kept), [
        found(
            Rule.QUERY_PHOTO_OF_ANOTHER,
            "queries have a photo that is a picture of another article than they led to; dropped",
            [f"{key}: {other}" for key, other in of_another.items()],
        ),
        found(
            Rule.QUERY_PHOTO_IN_TRAINING,
            "queries have a photo that a train query asks with; dropped",
            [f"{key}: {other}" for key, other in trained.items()],
        ),
    ]


def _is_test(keys: tuple[str, ...], side_of: Mapping[str, Side]) -> bool:
    return any(side_of.get(key) is Side.TEST for key in keys)
