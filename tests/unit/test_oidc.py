"""What an id-token's claims say, the trust policy they ask for, and which pull requests come from forks."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.alibaba_cloud.providers import read_claims, write_trust_policy
from dms_airflow.ci.runner import Runner

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


@pytest.mark.parametrize(("head", "repository"), [({"full_name": "stranger/dags"}, "stranger/dags"), (None, "")])
def test_a_pull_request_names_the_repository_of_its_head(tmp_path: Path, head: Any, repository: str) -> None:
    event = {"number": 7, "head": {"sha": "ab" * 20, "repo": head}}
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": event}))
    runner = Runner(workspace=tmp_path, event_name="pull_request", event_file=tmp_path / "event.json")

    pull_request = runner.read_pull_request()

    assert pull_request is not None
    assert pull_request.repository == repository


@pytest.mark.parametrize("text", [None, "[]", "[", '{"ref": "refs/heads/main"}', '{"pull_request": {"head": 1}}'])
def test_an_event_of_another_kind_has_no_pull_request(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "event.json").write_text(text)
    runner = Runner(workspace=tmp_path, event_name="pull_request", event_file=tmp_path / "event.json")

    assert runner.read_pull_request() is None
    assert replace(runner, event_file=None).read_pull_request() is None


def test_a_pods_token_names_its_audience_in_a_list() -> None:
    payload = base64.urlsafe_b64encode(b'{"aud": ["sts.aliyuncs.com"], "sub": ["a", "b"]}').decode()

    assert read_claims(f"e30.{payload}.x") == {"aud": "sts.aliyuncs.com"}
