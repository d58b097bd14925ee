import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from bridge.matrix.codec.tolerant import INTEGER_MAX, clean, decode, split


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'"\\ud800x"', "\ufffdx"),
        (b'"\\udc00\\ud800"', "\ufffd\ufffd"),
        (b'["\\ud83d\\ude00","\\ud800"]', ["\U0001f600", "\ufffd"]),
        (b"[NaN,-Infinity,1e400]", [None, None, None]),
        (b"[" + b"1" * 5000 + b",-" + b"1" * 5000 + b"]", [INTEGER_MAX, -INTEGER_MAX]),
        (b"[NaN," + b"9" * 17 + b"]", [None, INTEGER_MAX]),
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b"[" * 200_000 + b"]" * 200_000, None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_what_is_almost_json_is_read(raw: bytes, value: object) -> None:
    assert decode(raw) == value


@given(st.binary() | st.text().map(str.encode))
def test_whatever_comes_is_read_or_is_nothing(raw: bytes) -> None:
    decode(raw)
    cleaned = clean(raw)
    if cleaned:
        msgspec.json.decode(cleaned)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(json_values), json_values)
def test_a_list_is_cut_at_its_commas(values: list[Any], other: object) -> None:
    document = {"a": other, "events": values, "b": [other]}

    elements = split(json.dumps(document, indent=1).encode(), "events")

    assert [json.loads(element) for element in elements] == values


@pytest.mark.parametrize(
    "raw", [b"", b"[1,2]", b'{"events":5}', b'{"a":"events"}', b'"events"[1]', b"]]}"]
)
def test_where_there_is_no_list_there_are_no_elements(raw: bytes) -> None:
    assert split(raw, "events") == []


def test_an_unended_string_costs_no_time() -> None:
    assert split(b'{"events":["' + b"\\a" * 50_000, "events") == []
