import io
import logging

import pytest

from bridge.logs import safe

logger = logging.getLogger("bridge.test")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größe 日本 \U0001f600", "größe 日本 \U0001f600"),
        ("a\nERROR bridge: b", r"a\nERROR bridge: b"),
        ("\x1b[2J\x07\x9b31m", r"\x1b[2J\x07\x9b31m"),
        ("a\u202eb\u2066c\u200e", r"a\u202eb\u2066c\u200e"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\ud800", r"\ud800"),
    ],
)
def test_whatever_is_written_is_one_line(text: str, shown: str) -> None:
    """S6."""
    assert safe(text) == shown


def test_a_nick_begins_no_line_of_the_log(log: io.StringIO) -> None:
    """S6."""
    logger.info("%s came in", "Eve\n2026-01-01 ERROR bridge.core: all is lost\x1b[2J")

    (line,) = log.getvalue().splitlines()
    assert line.endswith(
        r"Eve\n2026-01-01 ERROR bridge.core: all is lost\x1b[2J came in"
    )


def test_nor_does_what_a_fault_says(log: io.StringIO) -> None:
    """S6."""
    fault = ValueError("x\n2026-01-01 ERROR bridge: forged\u202e")

    logger.error("a fault", exc_info=fault)

    first, *rest = log.getvalue().splitlines()
    assert first.endswith("bridge.test: a fault")
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert "\u202e" not in log.getvalue()


@pytest.mark.parametrize(
    "name", ["omemo", "twomemo", "slixmpp", "aiohttp", "sqlalchemy"]
)
def test_libraries_tell_nothing_in_detail(log: io.StringIO, name: str) -> None:
    """S25: some print keys and plaintext at DEBUG."""
    logging.getLogger(f"{name}.core").debug("Plain key material: canary")
    logging.getLogger(f"{name}.core").info("canary")

    assert "canary" not in log.getvalue()
