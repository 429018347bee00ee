"""Decoding JPEGs whose coded data are whole.

libjpeg fills what is missing with gray and only writes a warning to stderr, which no caller sees. Two tests find a gap.
A decoder that has all its data ignores bytes that are put behind them. And a decoder that ignores a change of the last
bytes had finished before it came to them, so something was overwritten. What the last scans of a progressive file have
lost may go unseen: they add the least bits.
"""

import io
import re

import cv2
import numpy as np
from PIL import Image

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Begin of a segment; zeros and restarts stand within the coded data."""

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)

_MAX_SCANS = 64
"""Progressive files have about ten; thousands of empty scans would keep a decoder busy for minutes."""

_LOOKAHEAD = bytes(8)
"""libjpeg wants so many bytes behind the coded data before it decodes the last of them."""

_OTHER_BYTES = b"\x55" * 16
"""Ones and zeros in turn, which a decoder takes for many short codes, so that it shows if it reads them."""

_MOSTLY_ZEROS = 14
"""So many of the last 16 bytes are zero where one color goes on to the end; a change of them may not show."""

_ZEROS = bytes(32)
"""Lost blocks of a disk read as zeros. So do wide areas of one color in some files, hence more is looked at."""


def is_jpeg(data: bytes) -> bool:
    """Whether a file is a JPEG, whatever its name says."""
    return data.startswith(b"\xff\xd8")


def decode_jpeg(data: bytes, flags: int) -> np.ndarray | None:
    """Decode as ``cv2.imdecode`` does; ``None`` if data are missing, at the end or in the middle.

    Costs no more than the decoder itself, but about three times as much for progressive files and runs of zeros.
    """
    frame, scans = _frame_and_scans(data)
    if not 1 <= len(scans) <= _MAX_SCANS:
        return None
    if len(scans) > 1 or frame not in _SEQUENTIAL:
        return decode(data, flags) if _is_read_exactly(data, scans) else None
    (begin, end), *_ = scans
    if data.find(_ZEROS, begin, end) >= 0 and not _is_read_exactly(data, scans):
        return None
    if _ends_in_zeros(data, end) and decode(data[: end - len(_OTHER_BYTES)] + _LOOKAHEAD, flags) is not None:
        return None  # more zeros than the decoder wanted
    return decode(data[:end] + _LOOKAHEAD, flags)  # fails where data are missing: there is no end to fill up to


def decode(data: bytes, flags: int) -> np.ndarray | None:
    """Decode an image of any format; ``None`` if OpenCV cannot."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _frame_and_scans(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """The kind of the frame, and where the coded data of each scan begin and end; no scans if the file has no end.

    Goes from segment to segment, for thumbnails hold markers of their own, and phones put a film behind the end.
    """
    frame, begin, position = 0, 0, 2
    scans: list[tuple[int, int]] = []
    while marker := _MARKER.search(data, position):
        kind = marker[1][0]
        if begin:
            scans.append((begin, marker.start()))
        if kind == _END_OF_IMAGE:
            return frame, scans
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        begin = position if kind == _START_OF_SCAN else 0
        frame = kind if kind in _FRAMES else frame
    return frame, []


def _is_read_exactly(data: bytes, scans: list[tuple[int, int]]) -> bool:
    """Whether a decoder reads each stretch of coded data to its end and no further, and no scan lacks a stretch."""
    image = _in_half(data)
    by_scan = [_between_restarts(data, *scan) for scan in scans]
    stretches = [stretch for of_scan in by_scan for stretch in of_scan]
    more = {of_scan[-1][1]: _another_stretch(len(of_scan) - 1) for of_scan in by_scan}
    longer = [data[: stretches[0][0]]]
    for (begin, end), (next_begin, _) in zip(stretches, [*stretches[1:], (len(data), 0)], strict=True):
        longer += [data[begin:end], _OTHER_BYTES, more.get(end, b""), data[end:next_begin]]
    if image is None or _in_half(b"".join(longer)) != image:
        return False
    suspects = (end for begin, end in stretches if data.find(_ZEROS, begin, end) >= 0 and not _ends_in_zeros(data, end))
    changed = (data[: end - len(_OTHER_BYTES)] + _OTHER_BYTES + data[end:] for end in suspects)
    return not any(_in_half(other) == image for other in changed)


def _ends_in_zeros(data: bytes, end: int) -> bool:
    return data.count(0, end - len(_OTHER_BYTES), end) >= _MOSTLY_ZEROS


def _in_half(data: bytes) -> bytes | None:
    """The image at half its size, which takes less time, decoded by Pillow, which writes no warning to stderr."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.draft("RGB", (max(1, image.width // 2), max(1, image.height // 2)))
        return image.tobytes()
    except Exception:  # Pillow raises errors of many kinds
        return None


def _another_stretch(number: int) -> bytes:
    """A stretch that would follow in a scan after so many restarts."""
    return bytes([0xFF, 0xD0 + number % 8]) + _OTHER_BYTES


def _between_restarts(data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    restarts = list(_RESTART.finditer(data, begin, end))
    begins = [begin, *(restart.end() for restart in restarts)]
    return list(zip(begins, [*(restart.start() for restart in restarts), end], strict=True))
