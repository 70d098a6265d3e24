"""How many pictures a video has, counted in its container without decoding any.

Headers are not asked: many containers have no such figure, and a file that was cut off keeps the
figure of the whole.
"""

from pathlib import Path

import av.error

from .av_file import open_av


def count_frames(path: Path, stream: int) -> int | None:
    """Return the number of pictures of a video stream, None if the container cannot be read.

    Args:
        path: The file.
        stream: Index of the stream in its container.
    """
    count = 0
    try:
        with open_av(path) as container:
            for packet in container.demux(container.streams[stream]):
                count += packet.size > 0 and not packet.is_discard
    except av.error.FFmpegError:
        return count or None
    return count
