"""A session goes to DMS over https and nowhere else, unless the author named the OpenAPI whose answer is believed."""

from __future__ import annotations

import pytest

from dms_airflow.core.errors import TokenError
from dms_airflow.core.http.urls import check_host

PATH = "/airflow/1234567890123456/98765432101234/af-1a2b3c"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"https://data-cn-hangzhou-dms.aliyuncs.com{PATH}", f"https://data-cn-hangzhou-dms.aliyuncs.com{PATH}"),
        (f"https://data-ap-southeast-1-dms.aliyuncs.com{PATH}/", f"https://data-ap-southeast-1-dms.aliyuncs.com{PATH}"),
        (f"https://data-cn-hangzhou-dms-vpc.aliyuncs.com{PATH}", f"https://data-cn-hangzhou-dms-vpc.aliyuncs.com{PATH}"),
        (f"https://data-vpc-cn-hangzhou-dms.aliyuncs.com{PATH}", f"https://data-vpc-cn-hangzhou-dms.aliyuncs.com{PATH}"),
        (f"https://data-dms-vpc.us-west-1.aliyuncs.com{PATH}", f"https://data-dms-vpc.us-west-1.aliyuncs.com{PATH}"),
        (f"HTTPS://DATA-CN-HANGZHOU-DMS.aliyuncs.com:443{PATH}//", f"https://DATA-CN-HANGZHOU-DMS.aliyuncs.com:443{PATH}"),
    ],
)
def test_hosts_of_dms(text: str, base: str) -> None:
    assert check_host(text, is_endpoint_given=False) == base
    assert check_host(text, is_endpoint_given=True) == base


@pytest.mark.parametrize(
    "text",
    [
        f"https://evil.tld{PATH}",
        f"https://data-cn-hangzhou-dms.aliyuncs.com.evil.tld{PATH}",
        f"https://data-cn-hangzhou-dms-aliyuncs.com{PATH}",
        f"https://evil-aliyuncs.com{PATH}",
        f"https://aliyuncs.com{PATH}",
        f"https://www.aliyuncs.com{PATH}",
        f"https://mybucket.oss-cn-hangzhou.aliyuncs.com{PATH}",
        f"https://data-cn-hangzhou-dms.oss-cn-hangzhou.aliyuncs.com{PATH}",
        f"https://data-cn-hangzhou-dms.cn-hangzhou.fc.aliyuncs.com{PATH}",
        f"https://notdms.aliyuncs.com{PATH}",
        f"https://data-cn-hangzhou-dms.aliyuncs.com:8443{PATH}",
        f"https://data-cn-hangzhou-dms.aliyuncs.com:80{PATH}",
        f"http://data-cn-hangzhou-dms.aliyuncs.com{PATH}",
        f"https://127.0.0.1{PATH}",
        f"http://127.0.0.1:8080{PATH}",
        f"http://airflow{PATH}",
        f"https://xn--liyuncs-2fg.com{PATH}",
    ],
)
def test_hosts_that_are_not_dms(text: str) -> None:
    with pytest.raises(TokenError) as error:
        check_host(text, is_endpoint_given=False)

    assert "a host to which the session must not be sent, " in error.value.message
    assert "set endpoint" in error.value.hint


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://airflow.example.com", "https://airflow.example.com"),
        ("https://airflow.example.com:8443/af/", "https://airflow.example.com:8443/af"),
        ("http://127.0.0.1:8080/airflow", "http://127.0.0.1:8080/airflow"),
        ("http://[::1]:8080/airflow", "http://[::1]:8080/airflow"),
        ("http://10.1.2.3/airflow", "http://10.1.2.3/airflow"),
        ("http://sandbox/airflow", "http://sandbox/airflow"),
    ],
)
def test_any_https_host_where_the_author_named_the_endpoint(text: str, base: str) -> None:
    assert check_host(text, is_endpoint_given=True) == base


DMS = "https://data-cn-hangzhou-dms.aliyuncs.com"


@pytest.mark.parametrize("is_endpoint_given", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "data-cn-hangzhou-dms.aliyuncs.com",
        "//data-cn-hangzhou-dms.aliyuncs.com",
        "https:data-cn-hangzhou-dms.aliyuncs.com",
        "https:///airflow",
        "ftp://data-cn-hangzhou-dms.aliyuncs.com",
        "javascript://data-cn-hangzhou-dms.aliyuncs.com/%0aalert(1)",
        "file:///etc/passwd",
        "https://user@data-cn-hangzhou-dms.aliyuncs.com",
        "https://user:word@data-cn-hangzhou-dms.aliyuncs.com",
        "https://data-cn-hangzhou-dms.aliyuncs.com@evil.tld",
        "https://data-cn-hangzhou-dms.aliyuncs.com\\@evil.tld",
        "https://evil.tld\\.data-cn-hangzhou-dms.aliyuncs.com",
        "https://evil.tld%2f.data-cn-hangzhou-dms.aliyuncs.com",
        "https://data-cn-hangzhou-dms.aliyuncs.com%00.evil.tld",
        f"{DMS}./airflow",
        f"{DMS}:",
        f"{DMS}:-1",
        f"{DMS}:4 43",
        f"{DMS}:٤٤٣",
        f"{DMS}/airflow/../evil",
        f"{DMS}/./airflow",
        f"{DMS}/airflow/%2e%2e/evil",
        f"{DMS}//evil.tld/airflow",
        f"{DMS}/airflow;/..;/evil",
        f"{DMS}/airflow?x=",
        f"{DMS}/airflow?",
        f"{DMS}/airflow#",
        f"{DMS}/air flow",
        f"{DMS}/airflow\r\nX-Evil: 1",
        f"{DMS}/airflow\n",
        f"{DMS}\t/airflow",
        f" {DMS}/airflow",
        f"{DMS}/airflow\x00",
        "https://d\u0430ta-cn-hangzhou-dms.aliyuncs.com",  # a Cyrillic letter
        "https://data-cn-hangzhou-dms.\u0430liyuncs.com",
        "https://data-cn-hangzhou-dms\u3002aliyuncs.com",  # an ideographic full stop
        "https://data-cn-hangzhou-dms.aliyuncs.com\u2215evil.tld",  # a division slash
        "https://data-cn-hangzhou-dms\u200b.aliyuncs.com",
        "https://\uff44ata-cn-hangzhou-dms.aliyuncs.com",  # a full-width letter
        "http://8.8.8.8/airflow",
        "http://134744072/airflow",  # 8.8.8.8 as one number
        "http://0x08080808/airflow",
        "http://[::ffff:8.8.8.8]/airflow",
        "http://airflow.example.com/airflow",
    ],
)
def test_what_is_no_place_for_a_session_at_all(text: str, *, is_endpoint_given: bool) -> None:
    with pytest.raises(TokenError) as error:
        check_host(text, is_endpoint_given=is_endpoint_given)

    assert "a host to which the session must not be sent" in error.value.message
    assert error.value.hint
