"""An error code of Alibaba Cloud is what its most special entry says."""

from __future__ import annotations

import pytest

from dms_airflow.alibaba_cloud.error_codes import OPENAPI, STS, TOKEN, Refusal, load_codes


@pytest.mark.parametrize("groups", [OPENAPI, TOKEN, STS])
def test_what_every_call_may_get_is_searched_last(groups: tuple[str, ...]) -> None:
    assert load_codes(groups)[-2:] == load_codes(("common",))


@pytest.mark.parametrize(
    ("code", "message", "meaning"),
    [
        ("Throttling.User", "Request was denied.", "the account makes too many calls"),
        ("InvalidSecurityToken.Expired", "Expired.", "the temporary credentials have expired"),
        ("UserNotExist", "No such user.", "the identity is not a user of DMS"),
        ("SomethingNew", "", None),
    ],
)
def test_the_meaning_of_a_code(code: str, message: str, meaning: str | None) -> None:
    found = Refusal(code=code, message=message, request_id="1", groups=TOKEN).known

    assert (found and found.meaning) == meaning
