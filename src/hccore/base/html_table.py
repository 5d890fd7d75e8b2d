"""Small pieces of HTML, for the display of objects in notebooks. Every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A plain table. None becomes an empty cell."""
    lines = ["<table>", f"<thead>{_row('th', header)}</thead>", "<tbody>"]
    lines += [_row("td", row) for row in rows]
    return "\n".join([*lines, "</tbody>", "</table>"])


def html_lines(lines: Iterable[str]) -> str:
    """Some lines of text, one below the other; an empty text if there are none."""
    text = "<br>\n".join(map(html.escape, lines))
    return f"<p>{text}</p>" if text else ""


def _row(tag: str, cells: Sequence[object]) -> str:
    texts = ("" if cell is None else html.escape(str(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for text in texts)}</tr>"
