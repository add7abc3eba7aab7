"""Bring the pictures behind a catalogue's URLs onto this machine: politely to hosts, safely for the network around.

The one place of `catalog` that opens connections, and only when `fetch_images` is called. No address is dialled that
was not judged, and none but the one that was: see `guard` and `addresses`.
"""

from catalog.fetched import MANIFEST, Reason, Row, Status
from catalog.fetching.addresses import why_closed
from catalog.fetching.config import FetchConfig
from catalog.fetching.lists import UrlList, read_urls
from catalog.fetching.manifest import read_manifest
from catalog.fetching.report import Ended, FetchReport, HostRow
from catalog.fetching.run import fetch_images
from catalog.fetching.store import url_digest

__all__ = [
    "MANIFEST",
    "Ended",
    "FetchConfig",
    "FetchReport",
    "HostRow",
    "Reason",
    "Row",
    "Status",
    "UrlList",
    "fetch_images",
    "read_manifest",
    "read_urls",
    "url_digest",
    "why_closed",
]
