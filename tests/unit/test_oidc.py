"""What an id-token's claims say, the trust policy they ask for, and which pull requests come from forks."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.alibaba_cloud.assume_role import write_trust_policy
from dms_airflow.ci.github_id_token import is_from_fork
from dms_airflow.core.secrets.tokens import IdToken, read_claims

if TYPE_CHECKING:
    from pathlib import Path

# Header, then {"sub": "repo:octo-org/dags:ref:refs/heads/main", "aud": "sts.aliyuncs.com", "iat": 1}, then a signature
TOKEN = (
    "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJIUzI1NiJ9."
    "eyJzdWIiOiAicmVwbzpvY3RvLW9yZy9kYWdzOnJlZjpyZWZzL2hlYWRzL21haW4iLCAiYXVkIjogInN0cy5hbGl5dW5jcy5jb20iLCAiaWF0IjogMX0."
    "c2lnbmF0dXJl"
)


def test_claims_that_may_be_shown() -> None:
    assert read_claims(TOKEN) == {"sub": "repo:octo-org/dags:ref:refs/heads/main", "aud": "sts.aliyuncs.com"}


@pytest.mark.parametrize("token", ["", "a.b.c", "a", "a.W10.c", "a.!!!.c", "a.bnVsbA.c"])
def test_no_claims_of_what_is_no_token(token: str) -> None:
    assert read_claims(token) == {}


def test_a_token_does_not_show_itself() -> None:
    assert TOKEN not in repr(IdToken(value=TOKEN, claims={}))


def test_the_trust_policy_to_paste() -> None:
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "sub": "repo:octo-org/dags:environment:prod",
        "aud": "sts.aliyuncs.com",
        "job_workflow_ref": "octo-org/dags/.github/workflows/deploy.yml@refs/heads/main",
    }

    policy = json.loads(write_trust_policy(claims, "acs:ram::1:oidc-provider/github"))

    assert policy == {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Federated": ["acs:ram::1:oidc-provider/github"]},
                "Condition": {
                    "StringEquals": {
                        "oidc:iss": ["https://token.actions.githubusercontent.com"],
                        "oidc:aud": ["sts.aliyuncs.com"],
                        "oidc:sub": ["repo:octo-org/dags:environment:prod"],
                    }
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("event", "is_fork"),
    [
        ({"pull_request": {"head": {"repo": {"full_name": "stranger/dags"}}, "base": {"repo": {"full_name": "o/dags"}}}}, True),
        ({"pull_request": {"head": {"repo": None}, "base": {"repo": {"full_name": "o/dags"}}}}, True),
        ({"pull_request": {"head": {"repo": {"full_name": "o/dags"}}, "base": {"repo": {"full_name": "o/dags"}}}}, False),
        ({"ref": "refs/heads/main"}, False),
        ({"pull_request": {"head": 1}}, False),
        ([], False),
    ],
)
def test_pull_requests_from_forks(tmp_path: Path, event: Any, *, is_fork: bool) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))

    assert is_from_fork(file) is is_fork


def test_without_an_event_nothing_is_a_fork(tmp_path: Path) -> None:
    assert is_from_fork(None) is False
    assert is_from_fork(tmp_path / "nosuch") is False


def test_a_pods_token_names_its_audience_in_a_list() -> None:
    payload = base64.urlsafe_b64encode(b'{"aud": ["sts.aliyuncs.com"], "sub": ["a", "b"]}').decode()

    assert read_claims(f"e30.{payload}.x") == {"aud": "sts.aliyuncs.com"}
