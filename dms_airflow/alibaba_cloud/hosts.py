"""Which hosts of Alibaba Cloud are called: DMS's OpenAPI and STS. core/http/urls checks the host of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_openapi_host(region: str) -> str:
    """Find the host of DMS's OpenAPI: https://api.aliyun.com/product/dms-enterprise."""
    return f"dms.{region}.aliyuncs.com"


def find_sts_host(environ: Mapping[str, str]) -> str:
    """Find STS's host as the SDKs do: regional or in a VPC where their variables say so, else the central one."""
    prefix = "sts-vpc" if environ.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true" else "sts"
    region = environ.get("ALIBABA_CLOUD_STS_REGION", "")
    return f"{prefix}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"
