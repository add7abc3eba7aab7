"""Text as a catalogue may hold it: composed, without control characters, otherwise as the shop wrote it."""

from __future__ import annotations

import re
import unicodedata

# C0 but tab, line feed and carriage return; DEL and C1; lone surrogates; noncharacters. Directional marks and joiners
# stay: right-to-left titles and emoji need them.
_NONCHARACTERS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_STRIPPED = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")
_LINE_ENDS = re.compile(r"\r\n?")
_BREAKS = re.compile(r"[ ]*[\t\n]+[\t\n ]*")


def clean_text(text: str, *, one_line: bool = False) -> tuple[str, int]:
    """Compose to NFC, strip control characters and surrounding white space.

    Args:
        text: Anything Python accepts as a string, lone surrogates included.
        one_line: Turn tabs and line breaks into single spaces, as titles and names need.

    Returns:
        The clean text and how many characters were stripped as control characters. Cleaning twice changes nothing.
    """
    if text.isprintable():
        # Nothing below would find anything: the common case, and half the time of reading a large table.
        return unicodedata.normalize("NFC", text).strip(), 0
    kept, num_stripped = _STRIPPED.subn("", text)
    kept = _LINE_ENDS.sub("\n", kept)
    if one_line:
        kept = _BREAKS.sub(" ", kept)
    return unicodedata.normalize("NFC", kept).strip(), num_stripped


def cut_text(text: str, max_chars: int) -> str:
    """The first `max_chars` characters, without a joiner or space left dangling at the end."""
    return text if len(text) <= max_chars else text[:max_chars].rstrip(" \u200d")
