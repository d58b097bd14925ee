import struct
import zlib

import pytest
from hypothesis import given, strategies as st

from bridge.model.pictures import BYTES_MAX, NO_PICTURE, Picture, recognise

PNG = b"\x89PNG\r\n\x1a\n"
EXIF = b"\xff\xe1\x00\x08Exif\x00\x00"


def png(width: int, height: int, shade: int = 0) -> bytes:
    """Write a whole picture, of one shade all over."""

    def chunk(name: bytes, data: bytes) -> bytes:
        sum_ = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", sum_)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\x00" + bytes((shade,)) * width) * height)
    return PNG + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int, height: int, before: bytes = EXIF, frame: int = 0xC0) -> bytes:
    sizes = struct.pack(">BHHB", 8, height, width, 1)
    head = struct.pack(">BBH", 0xFF, frame, 2 + len(sizes) + 3)
    return b"\xff\xd8" + before + head + sizes + b"\x01\x11\x00" + b"\xff\xd9"


def test_a_png_is_known_by_its_bytes() -> None:
    data = png(96, 64)

    assert recognise(data) == Picture(data, "image/png", 96, 64)


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2])
@pytest.mark.parametrize(
    "before", [b"", EXIF, b"\xff\xdb\x00\x04\x00\x00" + EXIF, b"\xff" + EXIF]
)
def test_a_jpeg_is_known_by_its_bytes(frame: int, before: bytes) -> None:
    data = jpeg(96, 64, before, frame)

    assert recognise(data) == Picture(data, "image/jpeg", 96, 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PNG,
        PNG[:3],
        png(96, 64)[:20],
        png(96, 64).replace(b"IHDR", b"IDAT"),
        b"\xff\xd8\xff",
        jpeg(96, 64)[:14],
        jpeg(96, 64, b"\xff\xc4\x00\x04\x00\x00" + b"nonsense"),
        jpeg(96, 64, b"\xff\x01" * 300),
        b"GIF89a\x60\x00\x60\x00",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><script>alert(1)</script></html>",
    ],
)
def test_what_is_cut_off_or_something_else_is_no_picture(data: bytes) -> None:
    assert recognise(data) is NO_PICTURE


def test_what_needs_much_room_where_it_is_shown_is_no_picture() -> None:
    """A few bytes can be as large as a house once they are shown."""
    bomb = png(1, 1).replace(
        struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000)
    )

    assert recognise(bomb) is NO_PICTURE
    assert recognise(jpeg(1025, 1)) is NO_PICTURE
    assert recognise(jpeg(0, 96)) is NO_PICTURE
    assert recognise(png(1024, 1))


def test_what_has_many_bytes_is_no_picture() -> None:
    data = png(96, 96)

    assert recognise(data + b"x" * (BYTES_MAX - len(data)))
    assert recognise(data + b"x" * (BYTES_MAX - len(data) + 1)) is NO_PICTURE


def test_nothing_is_no_picture() -> None:
    assert not NO_PICTURE
    assert recognise(png(1, 1))


@given(st.sampled_from([PNG, b"\xff\xd8\xff"]), st.binary(max_size=300))
def test_nothing_breaks_it(start: bytes, rest: bytes) -> None:
    found = recognise(start + rest)

    assert found is NO_PICTURE or (found.width > 0 and found.height > 0)
