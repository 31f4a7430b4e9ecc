"""Passwords of URLs and values that JSON names as secret are found, and not shown."""

from __future__ import annotations

import pytest

from dms_airflow.core.secrets.values import find_secrets, mask_passwords, mask_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg2://airflow:p%40ss,w0rd@db:5432/a refused", "postgresql+psycopg2://airflow:***@db:5432/a refused"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("postgres://u:12345@h", "postgres://u:***@h"),
        (f"x://u:{'p' * 3000}@h", "x://u:***@h"),
        ("http://u:p/w@h/x", "http://u:***@h/x"),
        ("http://u:p@w@h:80", "http://u:***@h:80"),
        ("http://u:p<w>@h", "http://u:***@h"),
        ("amqp://u:p1@h1,amqp://u:p2@h2", "amqp://u:***@h1,amqp://u:***@h2"),
        # in JSON, and in JSON inside JSON
        (r'{"url": "http://u:a\"b\u0022@h"}', '{"url": "http://u:***@h"}'),
        (r'"postgresql:\/\/u:p\/w@h"', r'"postgresql:\/\/u:***@h"'),
        (r'"{\"a\": \"http://u:p@h\"}"', r'"{\"a\": \"http://u:***@h\"}"'),
        # in the query of a URL, once and twice
        ("?c=postgresql%3A%2F%2Fu%3Ap%2Fw%40h%3A5432&x=1", "?c=postgresql%3A%2F%2Fu%3A***%40h%3A5432&x=1"),
        ("?c=postgresql%3a//u%3ap%2540w%40h", "?c=postgresql%3a//u%3a***%40h"),
        ("?c=x%253A%252F%252Fu%253Ap%2540h", "?c=x%253A%252F%252Fu%253A***%2540h"),
    ],
)
def test_the_password_of_a_url_is_not_shown(text: str, shown: str) -> None:
    assert mask_passwords(text) == shown
    assert mask_passwords(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/a@b and https://host:443?a=b@c",
        "https://host/a:b@c",
        "http://host:80 mail me@example.com",
        "{'a': 'http://host:x', 'b': 'me@example.com'}",
        r'"http://host:x\nme@example.com"',
        "http://[::1]:8080/x",
        "git@github.com:x/y.git, ssh://git@host:22/x",
        "?c=https%3A%2F%2Fhost%3A8080%2Fa%40b",
    ],
)
def test_a_url_without_a_password_stays_as_it_is(text: str) -> None:
    assert mask_passwords(text) == text


def test_the_password_of_a_url_is_a_secret_as_it_is_written_and_as_it_is_meant() -> None:
    assert find_secrets("postgres://u:p/w%40x@h") == ("p/w%40x", "p/w@x")


def test_the_value_of_a_secret_key_is_a_secret_and_not_shown() -> None:
    text = r'{"password": "one", "n": 1, "extra": "{\"token\": \"two\"}", "api_key": [123456, true, ""]}'

    assert set(find_secrets(text)) == {"one", "two", "123456"}
    assert mask_secrets(text) == r'{"password": "***", "n": 1, "extra": "{\"token\": \"***\"}", "api_key": ["***", true, ""]}'


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2", "[" * 100_000, "{not json", "", "word"])
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert find_secrets(text) == ()
    assert mask_secrets(text) == text


def test_the_values_of_what_is_almost_json_are_not_shown() -> None:
    assert mask_secrets("{'password': 'a b', token=xyz") == "{'password': ***, token=***"
    assert find_secrets("{'password': 'a b', token=xyz") == ("a b", "xyz")
