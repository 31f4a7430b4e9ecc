"""Checks the base URL of an instance, from the token response or a stored session, before a session is sent there. Pure.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken shows
`https://data-<region>-dms.aliyuncs.com/airflow/<tenant>/<workspace>/<instance>`. Many a name under aliyuncs.com belongs to a
customer (buckets, functions), so that the domain alone does not prove a host to be DMS's.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from dms_airflow.core.errors import TokenError

HINT_HOST = (
    "The response of CreateAirflowLoginToken contains the host; nothing was sent there. Check region and endpoint, and the "
    "proxies between this machine and Alibaba Cloud (HTTPS_PROXY)."
)
HINT_ELSEWHERE = (
    f"{HINT_HOST} If the host is yours, or really belongs to DMS, set endpoint to the OpenAPI that you trust, for "
    "example dms.<region>.aliyuncs.com: with endpoint, any https host is accepted."
)

# A host name, an IPv4 address, or an IPv6 address in brackets; then a port.
AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
# An IPv4 address as one number, which could be mistaken for a name without a dot.
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")

# ASCII only: no name that looks like another one. No blank, no user, no query, no fragment, no encoded character.
_URL = re.compile(rf"(?P<scheme>(?i:https?))://(?P<authority>{AUTHORITY.pattern})(?P<path>(?:/[A-Za-z0-9._~-]+)*)/*")

# One name, or one in front of the region's; among its words is dms: data-cn-hangzhou-dms, data-cn-hangzhou-dms-vpc.
_DMS = re.compile(r"(?:[a-z0-9]+-)*dms(?:-[a-z0-9]+)*(?:\.[a-z]{2}-[a-z]+(?:-[a-z0-9]+)*)?\.aliyuncs\.com")

# RFC 1918, RFC 4193 and loopback. Python's `is_private` holds more: 169.254.0.0/16 (metadata services), 0.0.0.0/8, 240.0.0.0/4.
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "127.0.0.0/8", "::1/128"))
)

_HTTPS_PORT = 443


def allows_plain_http(host: str) -> bool:
    """Whether http, without TLS, is acceptable for a host: loopback, a private address, a name without a dot."""
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return "." not in bare and ":" not in bare and not _NUMBER.fullmatch(bare)
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _PRIVATE)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the OpenAPI listens."""

    scheme: str
    authority: str

    @property
    def url(self) -> str:
        """The endpoint as a URL without a path."""
        return f"{self.scheme}://{self.authority}"


def check_host(text: str, *, is_endpoint_given: bool) -> str:
    """Check a base URL that a stranger named before anything is sent there, and return it without a slash at its end.

    With `is_endpoint_given` the author named the OpenAPI, and so whom to believe: a sandbox, a proxy of their own.

    Raises:
        TokenError: It is no plausible place for a session.
    """
    match = _URL.fullmatch(text)
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise TokenError(
            "The token response names a host to which the session must not be sent: it is not a plain https URL.", HINT_HOST
        )
    host, authority, port = match["host"].lower(), match["authority"], int(match["port"] or _HTTPS_PORT)
    refused = f"The token response names a host to which the session must not be sent, {match['scheme']}://{authority}:"
    if not is_endpoint_given and (match["scheme"].lower() != "https" or port != _HTTPS_PORT or not _DMS.fullmatch(host)):
        raise TokenError(f"{refused} it is not an https host of DMS.", HINT_ELSEWHERE)
    if match["scheme"].lower() == "http" and not allows_plain_http(host):
        raise TokenError(
            f"{refused} http is only allowed for loopback and private addresses and host names without a dot.", HINT_HOST
        )
    return f"{match['scheme'].lower()}://{authority}{match['path']}"
