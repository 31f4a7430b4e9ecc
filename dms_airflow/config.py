"""Parses the inputs from the environment, once: those that all operations share, then those of the operation."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dms_airflow.alibaba_cloud.credentials import KEY_VARIABLES
from dms_airflow.ci.runner import ALSO_PLAIN, Runner, System
from dms_airflow.core.contract import INPUTS
from dms_airflow.core.errors import InputProblem
from dms_airflow.core.http.urls import AUTHORITY, Endpoint, allows_plain_http
from dms_airflow.core.inputs import (
    InputValueError,
    input_field,
    list_inputs,
    list_variables,
    load,
    parse_boolean,
    parse_choice,
    parse_operation,
    parse_pattern,
    parse_text,
    parse_whole_number,
    quote_value,
)
from dms_airflow.core.secrets.values import find_secrets
from dms_airflow.operations import Operation, check_other_inputs, find_operation


def parse_endpoint(text: str) -> Endpoint:
    """Read `host`, `host:port` or a URL without path."""
    word = parse_text(text)
    scheme, _, rest = (word if "://" in word else f"https://{word}").partition("://")
    authority = rest.removesuffix("/")
    match = AUTHORITY.fullmatch(authority)
    if scheme.lower() not in ("http", "https") or not match or int(match["port"] or 443) > 65535:  # noqa: PLR2004
        raise InputValueError(f"must be host, host:port or a URL without path, not {quote_value(word)}")
    if scheme.lower() == "http" and not allows_plain_http(match["host"]):
        raise InputValueError(
            f"http:// is for loopback and private addresses and host names without a dot; use https:// for {match['host']}"
        )
    return Endpoint(scheme=scheme.lower(), authority=authority)


parse_region = parse_pattern(r"[a-z0-9]+(?:-[a-z0-9]+)+", "a region id such as cn-hangzhou")
parse_instance_id = parse_pattern(r"af-[A-Za-z0-9_-]+", "an Airflow instance id such as af-1a2b3c")
# https://github.com/aliyun/configure-aliyun-credentials-action#inputs
parse_role = parse_pattern(r"acs:ram::[0-9]+:role/\S+", "an ARN such as acs:ram::1234567890123456:role/github")
parse_provider = parse_pattern(
    r"acs:ram::[0-9]+:oidc-provider/\S+", "an ARN such as acs:ram::1234567890123456:oidc-provider/github"
)
# https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
parse_session_name = parse_pattern(r"[A-Za-z0-9.@_-]{2,64}", "2 to 64 letters, digits, dots, hyphens, underscores or @")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The inputs that do not depend on the operation."""

    region: str = input_field(parse_region, default="")
    instance_id: str = input_field(parse_instance_id, required=True, default="")
    endpoint: Endpoint | None = input_field(parse_endpoint)
    access_key_id: str = input_field(parse_text, default="", secret=True)
    access_key_secret: str = input_field(parse_text, default="", secret=True)
    security_token: str = input_field(parse_text, default="", secret=True)
    role_to_assume: str = input_field(parse_role, default="")
    oidc_provider_arn: str = input_field(parse_provider, default="")
    audience: str = input_field(parse_text, default="sts.aliyuncs.com")
    role_session_name: str = input_field(parse_session_name, default="")
    role_session_expiration: int = input_field(parse_whole_number(900, 43200), default=3600)
    operation: str = input_field(parse_operation, required=True, default="")
    reuse_session: bool = input_field(parse_boolean, default=False)
    summary: bool = input_field(parse_boolean, default=True)
    annotations: bool = input_field(parse_boolean, default=True)
    result_file: str = input_field(parse_text, default="")
    sarif_file: str = input_field(parse_text, default="")
    junit_file: str = input_field(parse_text, default="")
    code_quality_file: str = input_field(parse_text, default="")
    comment: str = input_field(parse_choice("never", "failure", "always"), default="never")
    github_token: str = input_field(parse_text, default="", secret=True)

    @property
    def files(self) -> dict[str, str]:
        """The files to write in the workspace, by the names of their inputs."""
        names = ("result_file", "sarif_file", "junit_file", "code_quality_file")
        return {name.replace("_", "-"): path for name in names if (path := getattr(self, name))}

    def check(self) -> Iterator[InputProblem]:
        """Name the combinations that cannot be."""
        if not self.region and not self.endpoint:
            yield InputProblem("region", "is required, e.g. cn-hangzhou, unless endpoint is given")
        needs = (
            ("access_key_id", "access_key_secret"),
            ("access_key_secret", "access_key_id"),
            ("security_token", "access_key_id"),
            ("role_to_assume", "oidc_provider_arn"),
            ("oidc_provider_arn", "role_to_assume"),
            ("role_session_name", "role_to_assume"),
        )
        for one, other in needs:
            if getattr(self, one) and not getattr(self, other):
                present, missing = one.replace("_", "-"), other.replace("_", "-")
                yield InputProblem(missing, f"is required when {present} is given; a missing secret is empty")
        if self.comment != "never" and not self.github_token:
            text = f"is required when comment is {self.comment}, e.g. ${{{{ github.token }}}}; a missing secret is empty"
            yield InputProblem("github-token", text)

    @property
    def openapi(self) -> Endpoint:
        """The OpenAPI endpoint: the author's, else the region's (https://api.aliyun.com/product/dms-enterprise)."""
        return self.endpoint or Endpoint(scheme="https", authority=f"dms.{self.region}.aliyuncs.com")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All inputs of a step.

    Args:
        config: Those that all operations share. A wrong one has its default's value.
        operation: The module of the operation; None if it is unknown, which is a problem, too.
        params: Those of the operation.
        problems: What is wrong with them.
    """

    config: Config
    operation: Operation | None
    params: Any
    problems: tuple[InputProblem, ...]


def parse_inputs(environ: Mapping[str, str], runner: Runner) -> Inputs:
    """Parse the inputs of a step, and collect everything that is wrong with them."""
    problems = [*_check_variables(environ), *_check_authorities(runner.ca_bundle)]
    config = load(Config, environ, problems)
    operation, params = None, None
    if config.operation:
        try:
            operation = find_operation(config.operation)
        except InputValueError as error:
            problems.append(InputProblem("operation", str(error)))
    if operation:
        params = load(operation.Params, environ, problems)
    problems.extend(check_other_inputs(operation, environ))
    path_problems = tuple(check_paths(runner, files=config.files, dags_path=getattr(params, "dags_path", "")))
    # Nothing may be written outside of the workspace.
    refused: dict[str, Any] = {problem.name.replace("-", "_"): "" for problem in path_problems if problem.name in config.files}
    config = replace(config, **refused)
    return Inputs(config=config, operation=operation, params=params, problems=(*problems, *path_problems))


def _check_variables(environ: Mapping[str, str]) -> Iterator[InputProblem]:
    """Find a wrong CI system, and variables that are almost that of an input: a misspelt `dry-run` must not become a deploy."""
    word = environ.get("DMS_AIRFLOW_CI", "")
    if word.strip() and word.strip().lower() not in (*System, *ALSO_PLAIN):
        yield InputProblem("DMS_AIRFLOW_CI", f"must be one of {', '.join(System)}, not {quote_value(word)}")
    known = [list_variables(name)[0] for name in INPUTS]
    for name in (one for one in environ if one.startswith("DMS_AIRFLOW_") and one not in known):
        # Not by the whole names, which all begin alike.
        near = get_close_matches(name[12:], [one[12:] for one in known], n=1, cutoff=0.85)
        if near:
            yield InputProblem(name, f"is not the variable of an input; did you mean DMS_AIRFLOW_{near[0]}?")


def _check_authorities(path: str) -> Iterator[InputProblem]:
    """Check that a bundle of certificate authorities can be used: no library has an exception for that."""
    try:
        ssl.create_default_context(cafile=path) if path else None
    except OSError:  # SSLError is one
        message = (
            f"must be the path of a file with certificates in PEM form, not {quote_value(path)}. In a container it must be a "
            "file there: on GitHub, in the workspace or RUNNER_TEMP"
        )
        yield InputProblem("REQUESTS_CA_BUNDLE", message)


def check_paths(runner: Runner, *, files: Mapping[str, str], dags_path: str) -> Iterator[InputProblem]:
    """Check that files to be written and a folder stay in the workspace, also when links are followed."""
    root = runner.workspace.resolve()
    seen: dict[Path, str] = {}
    for name, text in files.items():
        path = _resolve(root, text)
        if path is None or path == root or (path.exists() and not path.is_file()):
            yield InputProblem(name, f"must be a plain file inside the workspace, not {quote_value(text)}")
        elif (other := seen.setdefault(path, name)) != name:
            yield InputProblem(name, f"is the same file as {other}: {quote_value(text)}")
    if dags_path:
        path = _resolve(root, dags_path)
        if path is None or not path.is_dir():
            yield InputProblem("dags-path", f"must be a folder of the checkout, not {quote_value(dags_path)}")


def _resolve(root: Path, name: str) -> Path | None:
    """Follow a path from the workspace; None when it leads out of it, or round in a circle."""
    try:
        path = (root / name).resolve()
        path.stat() if path.is_symlink() else None
    except (OSError, RuntimeError, ValueError):
        return None
    return path if path.is_relative_to(root) else None


def list_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """List every secret that the environment holds for the action, to be masked before anything is printed."""
    for name, source in list_inputs(Config).items():
        if source.secret:
            yield from (environ.get(one, "") for one in list_variables(name))
    for name in (*KEY_VARIABLES, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "DMS_AIRFLOW_ID_TOKEN", "ALIBABA_CLOUD_CREDENTIALS_URI"):
        yield environ.get(name, "")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        for text in (environ.get(name, ""), environ.get(name.lower(), "")):
            yield from find_secrets(text)
