"""Great Expectations' own rendering of a result, made safe to stand inside our page.

Its page view loads style sheets, scripts and a logo from the network and escapes nothing, so only the sections are
taken, from a copy of the result whose texts are escaped.
"""

from __future__ import annotations

import copy
import functools
import re
from html import escape
from typing import Any

_SECTION = '<div id="section-'
_NOT_OURS = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|\shref=\"[^\"]*\"", re.DOTALL | re.IGNORECASE)
_END_OF_SECTIONS = "<footer"
_DROPPED_CELLS = ("unexpected_index_query", "unexpected_index_list", "unexpected_list")


def expectations_html(result: Any, prefix: str) -> str:
    """The sections of one suite's result, a table of expectations a column, without script, link or page frame.

    Args:
        result: Great Expectations' suite validation result.
        prefix: Put before every id, so that several suites can stand on one page.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    shown = copy.deepcopy(result)
    for one in shown.results:
        one.result = {name: _escaped(value) for name, value in one.result.items() if name not in _DROPPED_CELLS}
    document = ValidationResultsPageRenderer().render(shown)
    # The first section is an overview that links to pages which are not there.
    document.sections = document.sections[1:]
    html = _page_view().render(document)
    html = _NOT_OURS.sub("", html)
    start = html.index(_SECTION)
    end = html.find(_END_OF_SECTIONS, start)
    return _balanced(html[start : end if end > 0 else None]).replace('id="section-', f'id="{prefix}-section-')


@functools.cache
def _page_view() -> Any:
    """One view, since compiling its templates is most of the work."""
    from great_expectations.render.view.view import DefaultJinjaPageView

    return DefaultJinjaPageView()


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(part) for part in value]
    return value


def _balanced(html: str) -> str:
    """`html` up to where the divs opened in it are closed; what follows belongs to the page's frame."""
    depth = end = 0
    for tag in re.finditer(r"<(/?)div\b", html):
        depth += -1 if tag.group(1) else 1
        if depth < 0:
            break
        if depth == 0:
            end = html.index(">", tag.end()) + 1
    return html[:end]
