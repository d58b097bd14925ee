"""Small pictures of people, told by their bytes alone.

Only what can be shown anywhere counts: PNG and JPEG, of few bytes and few pixels. What
a stranger says of the bytes is never asked.
"""

from typing import Final

from bridge.model.frozen import dataclass

BYTES_MAX: Final = 64 * 1024
SIDE_MAX: Final = 1024
"""Who shows a picture makes room for all of its pixels, however few bytes they take."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = b"\x00\x00\x00\x0dIHDR"
_SIDES: Final = slice(16, 24)
_JPEG: Final = b"\xff\xd8\xff"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))
_FILL: Final = 0xFF
_FRAME_LENGTH: Final = 9
_SEGMENTS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes of the media type *kind*; *width* and *height* are in pixels."""

    data: bytes
    kind: str
    width: int
    height: int

    def __bool__(self) -> bool:
        """Tell whether there is anything to see."""
        return bool(self.data)


NO_PICTURE: Final = Picture(b"", "", 0, 0)


def recognise(data: bytes) -> Picture:
    """Tell what *data* shows; NO_PICTURE if it is none that we would show."""
    if len(data) > BYTES_MAX:
        return NO_PICTURE
    kind, (width, height) = "", (0, 0)
    if data.startswith(_PNG):
        kind, (width, height) = "image/png", _png_size(data)
    elif data.startswith(_JPEG):
        kind, (width, height) = "image/jpeg", _jpeg_size(data)
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
        return NO_PICTURE
    return Picture(data, kind, width, height)


def _png_size(data: bytes) -> tuple[int, int]:
    """Read the first chunk, which the size stands in (RFC 2083 §4.1.1)."""
    sides = data[_SIDES]
    if not data.startswith(_HEADER, len(_PNG)) or len(sides) < _SIDES.stop - 16:
        return 0, 0
    return int.from_bytes(sides[:4], "big"), int.from_bytes(sides[4:], "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Go from segment to segment up to the first frame (ITU-T T.81 §B.2.2)."""
    place = 2
    for _ in range(_SEGMENTS_MAX):
        segment = data[place : place + _FRAME_LENGTH]
        if len(segment) < _FRAME_LENGTH or segment[0] != _FILL:
            break
        marker = segment[1]
        if marker in _FRAMES:
            height, width = segment[5:7], segment[7:9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        if marker == _FILL:
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + max(2, int.from_bytes(segment[2:4], "big"))
    return 0, 0
