"""Tables of the page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def plain_table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A table of cells that are HTML already, but for the first of a row, which names it."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    body = ""
    for name, *cells in rows:
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f'<tr><th scope="row">{html.escape(name)}</th>{row}</tr>'
    return (
        f'<div class="scroll"><table class="plain"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
