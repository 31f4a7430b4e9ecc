"""Makes the client of the instance from the inputs: credentials, login token, session. Sends nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import requests

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.session import AirflowSession
from dms_airflow.airflow.session_store import SessionFile
from dms_airflow.alibaba_cloud.credentials import CredentialsSource, Keys, find_credentials
from dms_airflow.alibaba_cloud.login_token import fetch_login_token
from dms_airflow.alibaba_cloud.providers import obtain_keys
from dms_airflow.alibaba_cloud.workspace import Workspace
from dms_airflow.ci.id_token import fetch_id_token
from dms_airflow.ci.runner import Runner
from dms_airflow.ci.system import CiSystem
from dms_airflow.config import Config
from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import CredentialsError
from dms_airflow.core.http.exchange import Transport
from dms_airflow.core.log import Log
from dms_airflow.operations.context import Context


def connect(config: Config, ci: CiSystem, environ: Mapping[str, str], clock: Clock) -> Context:
    """Put the client of the instance together; its session is opened by the operation."""
    runner, ca_bundle = ci.runner, ci.runner.ca_bundle
    transport = Transport(http=requests.Session(), clock=clock, log=ci, ca_bundle=ca_bundle)

    @cache
    def find_source() -> CredentialsSource:
        source = find_credentials(config, runner, environ)
        ci.info(f"Using the credentials of {source.origin}.")
        return source

    def obtain() -> Keys:
        fetch_token = partial(fetch_id_token, runner, transport=transport, log=ci)
        return obtain_keys(find_source(), fetch_token=fetch_token, temp=runner.temp, ca_bundle=ca_bundle, clock=clock, log=ci)

    instance: dict[str, Any] = {"instance_id": config.instance_id, "endpoint": config.openapi, "ca_bundle": ca_bundle}
    session = AirflowSession(
        obtain_keys=obtain,
        fetch_token=partial(fetch_login_token, **instance, clock=clock),
        transport=transport,
        clock=clock,
        log=ci,
        is_endpoint_given=config.endpoint is not None,
        store=_find_store(config, runner, environ, clock, ci),
    )
    return Context(
        config=config,
        open_workspace=lambda workspace_id: Workspace(
            workspace_id=workspace_id, **instance, obtain_keys=session.obtain_keys, clock=clock, log=ci
        ),
        airflow=AirflowClient(session=session, transport=transport, clock=clock, log=ci),
        session=session,
        transport=transport,
        runner=runner,
        clock=clock,
        log=ci,
    )


def _find_store(config: Config, runner: Runner, environ: Mapping[str, str], clock: Clock, log: Log) -> SessionFile | None:
    """Find where the session is kept; nowhere when nobody asked for it, or when it is not clear whose it would be."""
    if not config.reuse_session or runner.temp is None:
        return None
    try:
        identity = find_credentials(config, runner, environ).identity
    except CredentialsError:
        return None
    return SessionFile(runner.temp, (config.openapi.url, config.instance_id, identity), clock=clock, log=log)
