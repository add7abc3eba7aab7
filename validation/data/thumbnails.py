"""Small pictures inside a page."""

from __future__ import annotations

import base64
from html import escape

from catalog.catalog import Catalog
from catalog.images import ImageLimits, thumbnail_jpeg
from validation.data.alike import is_usable

THUMBNAIL_SIDE_PX = 112


class Thumbnails:
    """Figures of a catalogue's photos as data URLs."""

    def __init__(self, catalog: Catalog, limits: ImageLimits) -> None:
        self.catalog, self._limits = catalog, limits

    def figure(self, ref: str, caption: str | None = None) -> str:
        """The photo at `ref` with a caption; one that cannot be used gives an empty slot with its reason."""
        record = self.catalog.images.get(ref)
        text = f"<figcaption>{escape(ref if caption is None else caption)}</figcaption>"
        if record is None or not is_usable(record):
            status = record.status if record else "was not looked at"
            return f'<figure><div class="broken">{escape(status)}</div>{text}</figure>'
        small = thumbnail_jpeg(self.catalog.photo(ref).load(self._limits), THUMBNAIL_SIDE_PX)
        data = base64.b64encode(small).decode()
        return f'<figure><img alt="{escape(ref)}" src="data:image/jpeg;base64,{data}">{text}</figure>'
