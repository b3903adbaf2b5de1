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
_ASCII = "moc_ascii"


def speak_plainly() -> None:
    """Let standard output and error write words for the signs that their encoding lacks."""
    codecs.register_error(_HANDLER, _plain)
    codecs.register(_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            bare = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if bare else stream.encoding, errors=_HANDLER)


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII by a name that click does not take for a mistake, and writes UTF-8 in place of."""
    if name != _ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        incrementalencoder=known.incrementalencoder,
        incrementaldecoder=known.incrementaldecoder,
        streamreader=known.streamreader,
        streamwriter=known.streamwriter,
        name=_ASCII,
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in signs), error.end
