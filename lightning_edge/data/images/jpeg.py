"""Decoding of JPEG files that detects missing data.

libjpeg fills missing data with gray and only writes a warning to stderr, which callers do not see. Two tests detect a
gap. First, a decoder that has all its data ignores bytes that are appended to them. Second, if a decoder ignores a
change of the last bytes, it had finished before them, so data were overwritten. Losses in the last scans of a
progressive file can remain undetected, because these scans add the least significant bits.
"""

import io
import re

import cv2
import numpy as np
from PIL import Image

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Start of a segment. Stuffed zeros and restart markers are part of the coded data."""

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)

_MAX_SCANS = 64
"""Limit of scans. Progressive files have about ten; thousands of empty scans would block a decoder for minutes."""

_LOOKAHEAD = bytes(8)
"""Bytes that libjpeg needs after the coded data to decode the last of them."""

_OTHER_BYTES = b"\x55" * 16
"""Alternating ones and zeros, which decode as many short codes, so that it is visible if a decoder reads them."""

_MOSTLY_ZEROS = 14
"""Number of zeros in the last 16 bytes if one color continues to the end. Changes of them can be invisible."""

_ZEROS = bytes(32)
"""Lost disk blocks are read as zeros. Large areas of one color can also be zeros, so a further test follows."""


def is_jpeg(data: bytes) -> bool:
    """Whether a file is a JPEG, whatever its name is."""
    return data.startswith(b"\xff\xd8")


def decode_jpeg(data: bytes, flags: int) -> np.ndarray | None:
    """Decode like ``cv2.imdecode``; ``None`` if data are missing at the end or in the middle.

    It takes as much time as the decoder itself, and about three times as much for progressive files and runs of zeros.
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
        return None  # there are more zeros than the decoder needs
    return decode(data[:end] + _LOOKAHEAD, flags)  # fails if data are missing, because there is no end marker


def decode(data: bytes, flags: int) -> np.ndarray | None:
    """Decode an image of any format; ``None`` if OpenCV cannot."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _frame_and_scans(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """The type of the frame, and start and end of the coded data of each scan; no scans if the file has no end marker.

    It moves from segment to segment, because thumbnails contain their own markers, and phones append a video to the
    file.
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
    """Whether a decoder reads each section of coded data exactly to its end, and no scan lacks a section."""
    image = _in_half(data)
    by_scan = [_between_restarts(data, *scan) for scan in scans]
    sections = [section for of_scan in by_scan for section in of_scan]
    more = {of_scan[-1][1]: _another_section(len(of_scan) - 1) for of_scan in by_scan}
    longer = [data[: sections[0][0]]]
    for (begin, end), (next_begin, _) in zip(sections, [*sections[1:], (len(data), 0)], strict=True):
        longer += [data[begin:end], _OTHER_BYTES, more.get(end, b""), data[end:next_begin]]
    if image is None or _in_half(b"".join(longer)) != image:
        return False
    suspects = (end for begin, end in sections if data.find(_ZEROS, begin, end) >= 0 and not _ends_in_zeros(data, end))
    changed = (data[: end - len(_OTHER_BYTES)] + _OTHER_BYTES + data[end:] for end in suspects)
    return not any(_in_half(other) == image for other in changed)


def _ends_in_zeros(data: bytes, end: int) -> bool:
    return data.count(0, end - len(_OTHER_BYTES), end) >= _MOSTLY_ZEROS


def _in_half(data: bytes) -> bytes | None:
    """The image at half its size for speed. Pillow decodes it, because it writes no warnings to stderr."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.draft("RGB", (max(1, image.width // 2), max(1, image.height // 2)))
        return image.tobytes()
    except Exception:  # Pillow raises errors of many types
        return None


def _another_section(number: int) -> bytes:
    """A section that would follow in a scan after ``number`` restarts."""
    return bytes([0xFF, 0xD0 + number % 8]) + _OTHER_BYTES


def _between_restarts(data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    restarts = list(_RESTART.finditer(data, begin, end))
    begins = [begin, *(restart.end() for restart in restarts)]
    return list(zip(begins, [*(restart.start() for restart in restarts), end], strict=True))
