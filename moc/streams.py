"""Output for terminals and files that cannot show every sign."""

from __future__ import annotations

import codecs
import io
import sys

_PLAIN = {
    "ε": "eps",
    "δ": "delta",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "·": "-",
    "…": "...",
    "✓": "ok",
    "✗": "failed",
    "«": '"',
    "»": '"',
    "—": "-",
}
_HANDLER = "moc.plain"


def speak_plainly() -> None:
    """Let standard output and error write words for the signs that their encoding lacks."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in signs), error.end
