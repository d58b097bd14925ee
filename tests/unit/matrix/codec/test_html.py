import pytest

from bridge.matrix.codec.html import CHARS_MAX, TAGS_MAX, plain, read
from bridge.model.markup import Page
from bridge.model.text import Link, Span


def shown(source: str) -> str | None:
    page = Page()
    return page.result().plain if read(source, page) else None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a<b>b</B>c", "abc"),
        ("a <BR/>b<br>c", "a\nb\nc"),
        ("1 < 2 <3", "1 < 2 <3"),
        ("a<!-- <b> -->b<!doctype x>c<?php ?>d</>e", "abcde"),
        ("a<!-- b", "a"),
        ("a<script>b</b></SCRIPT>c<style>d", "ac"),
        ("<x-y z='>'>a</x-y>", "a"),
        ("a<b", None),
        ('a<b c="d>', None),
        ("<p>" * TAGS_MAX, None),
        ("<" * (TAGS_MAX + 1), None),
        ("x" * (CHARS_MAX + 1), None),
    ],
)
def test_tags_are_read_and_broken_ones_are_not(source: str, text: str | None) -> None:
    assert shown(source) == text


def test_of_attributes_the_first_counts() -> None:
    page = Page()

    read(
        "<a HREF=https://x?a&amp;b href='https://y' x=\"\">a</a><img alt='&lt;'>", page
    )

    text = page.result()
    assert text.plain == "a<"
    assert text.spans == (Span(0, 1, Link("https://x?a&b")),)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a & b", "a & b"),
        ("&lt;&amp;lt;&gt;&quot;&#39;", "<&lt;>\"'"),
        ("&#x1F600;&#128512;&nosuch;", "\U0001f600\U0001f600&nosuch;"),
        ("&#0;&#xd800;", "\ufffd\ufffd"),
        ("&#" + "9" * 5000 + ";", "\ufffd" + "9" * 4993 + ";"),
    ],
)
def test_character_references(source: str, text: str) -> None:
    assert plain(source) == text
