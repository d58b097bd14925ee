"""Reads XHTML-IM (XEP-0071), which is never written: it is deprecated."""

from xml.etree.ElementTree import Element

from bridge.model.markup import DEPTH_MAX, Page
from bridge.model.text import RichText

ELEMENTS_MAX = 2000


def decode_xhtml(html: Element) -> RichText | None:
    """Read an ``<html/>``, None if it has too much; styles of single words are lost."""
    page = Page()
    reading = _Reading(page)
    for body in html:
        if _name(body) == "body" and reading.read(body, 0):
            return page.result()
    return None


class _Reading:
    def __init__(self, page: Page) -> None:
        self._page = page
        self._left = ELEMENTS_MAX

    def read(self, element: Element, depth: int) -> bool:
        """Give the content of *element* to the page; return False if it is too much."""
        self._page.text(element.text or "")
        for child in element:
            self._left -= 1
            if self._left < 0 or depth > DEPTH_MAX:
                return False
            name = _name(child)
            self._page.start(name, child.attrib)
            if not self.read(child, depth + 1):
                return False
            self._page.end(name)
            self._page.text(child.tail or "")
        return True


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
