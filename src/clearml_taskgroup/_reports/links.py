"""Which addresses are linked."""

from __future__ import annotations

from urllib.parse import urlsplit


def page_of(url: str | None) -> str:
    """Returns an address if it is that of a web page; empty for a folder on a disk, or a script."""
    if url is None or url.startswith("file:"):  # asked for with each task
        return ""
    try:
        return url if urlsplit(url).scheme in ("http", "https") else ""
    except ValueError:
        return ""
