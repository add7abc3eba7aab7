"""HTML of a description as plain lines of text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_OPENS = {"li": "\n- ", "br": "\n", "p": "\n", "ul": "\n", "ol": "\n", "div": "\n", "tr": "\n", "td": " ", "th": " "}
_OPENS |= {f"h{level}": "\n" for level in range(1, 7)}
_CLOSES = frozenset({"p", "ul", "ol", "li", "div", "tr", *(f"h{level}" for level in range(1, 7))})
_UNSEEN = frozenset({"script", "style", "template"})


class _PlainText(HTMLParser):
    """Paragraphs and breaks to lines, list items and bullets to dashes; scripts and styles to nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        self.parts.append(_OPENS.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self.parts.append("\n" if tag in _CLOSES else "")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data.replace("•", "\n- "))


def plain_text(html: str) -> str:
    """HTML of a description as lines of text.

    >>> plain_text("<p>Warm &amp; dry.</p><ul><li>Wool</li></ul>")
    'Warm & dry.\\n- Wool'
    """
    parser = _PlainText()
    parser.feed(html)
    parser.close()
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line and line != "-")
