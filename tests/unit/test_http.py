"""An HTTP response's body is read as what it is."""

from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from dms_airflow.core.http.exchange import Response


def make(body: bytes, content_type: str = "application/json") -> Response:
    return Response(status=200, headers=CaseInsensitiveDict({"Content-Type": content_type}), body=body, cookies={})


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": NaN}', b"[-Infinity]", b'["\\x41"]', b'["\xff"]', b"[" * 100_000, b'{"a": 1} x']
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        make(body).parse()

    assert make(body).parse_object() == {}


def test_an_object_counts_as_one_only_where_the_content_type_is_json() -> None:
    assert make(b'{"a": 1}').parse_object() == {"a": 1}
    assert make(b'{"a": 1}', "application/problem+json; charset=utf-8").parse_object() == {"a": 1}
    assert make(b'{"a": 1}', "text/html").parse_object() == {}
    assert make(b"[1]").parse_object() == {}
