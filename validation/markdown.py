"""Text from outside in Markdown: names of shops, products and models must be read, not obeyed."""

from __future__ import annotations

import re

_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#|~!&@])")
_ADDRESS = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=www)\.")
_MENTION = re.compile(r"(?<=[@#])(?=\w)")
_NO_SPACE = "\u200b"


def plain(text: str) -> str:
    """One line in which nothing is markup: no table cell ends, no picture is loaded, no link, no mention.

    Backslashes are not enough for `@name`, `#12` and mail addresses, which GitHub looks for in the finished text: a
    space without width parts the sign from the name.

    Source: the GitHub Flavored Markdown specification, 0.29, sections 2.4, 4.10 and 6.9.
    """
    line = _MENTION.sub(_NO_SPACE, " ".join(text.split()))
    return _ADDRESS.sub(lambda found: "\\" + found.group(), _MARKUP.sub(r"\\\1", line))
