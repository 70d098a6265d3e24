"""A file opened by PyAV, and nothing that the file itself may name."""

from pathlib import Path
from typing import Any

import av

_OPTIONS = {"protocol_whitelist": "file"}
"""FFmpeg has formats that are lists of other files and addresses; no address is asked."""


def open_av(path: Path) -> Any:
    """Return a media file opened for reading.

    Raises:
        FFmpegError: It cannot be opened.
    """
    return av.open(str(path), mode="r", metadata_errors="ignore", options=_OPTIONS)
