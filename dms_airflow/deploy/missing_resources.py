"""What DAG files name and the instance does not have: connections, variables, pools, a triggerer. Silent where in doubt."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.health import fetch_health
from dms_airflow.checkout.dependencies import Dependencies
from dms_airflow.checkout.literal_ids import list_literal_ids
from dms_airflow.core.errors import ActionError
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import Level
from dms_airflow.core.text import join

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.checkout.mapping import Checkout
    from dms_airflow.deploy.deployed_files import DeployedFiles
    from dms_airflow.import_errors.instance_reader import InstanceReader
    from dms_airflow.operations.context import Context

    # By rule and name: by file and line, the DAG files of which that file is a part.
    Places = Mapping[tuple[Rule, str], Mapping[tuple[str, int], list[str]]]

_WARN = Level.WARNING
_FAIL = "tasks that use it fail. Create it in Airflow, or correct the name."
_HANG = "tasks that use it never start. Create it in Airflow, or correct the name."
_WAIT = "healthy triggerer: deferred tasks wait. Start one, or set deferrable=False."
_FINDINGS = (
    Finding(rule=Rule.MISSING_CONNECTION, level=_WARN, title="Connection missing", message=f"connection {{}}: {_FAIL}"),
    Finding(rule=Rule.MISSING_VARIABLE, level=_WARN, title="Variable missing", message=f"variable {{}}: {_FAIL}"),
    Finding(rule=Rule.MISSING_POOL, level=_WARN, title="Pool missing", message=f"pool {{}}: {_HANG}"),
    Finding(rule=Rule.MISSING_TRIGGERER, level=_WARN, title="Triggerer missing", message=_WAIT),
)
# What Airflow's database has none of when it is kept elsewhere.
_ELSEWHERE = {Rule.MISSING_CONNECTION: "AIRFLOW_CONN_…", Rule.MISSING_VARIABLE: "AIRFLOW_VAR_…"}
_BACKENDS = ("section/secrets/option/backend", "section/workers/option/secrets_backend")


def find_missing(deployed: DeployedFiles, context: Context, changed: Collection[str] | None) -> list[Finding]:
    """Find what DAG files, and what they are made of, name and the instance does not have. They are not grouped yet.

    Of the checkout's files on the instance, those that changed are checked, by the ends of their paths; None: all of them.
    """
    checkout = deployed.checkout
    parts = Dependencies(checkout, deployed.checkout_folder)
    files = deployed.expected.awaited
    own = [file for path, file in files.items() if changed is None or path.endswith(tuple(changed))]
    checked = _collect(parts, checkout, own)
    dag_ids = {files[path]: ids for path, ids in (deployed.report or {}).items() if path in files}
    found: list[Finding] = []
    for finding in _FINDINGS:
        rule, what = finding.rule, f"{finding.title.partition(' ')[0]} names"
        wanted = {name: places for (one, name), places in checked.items() if one is rule}
        fetch = partial(_fetch_names, rule, deployed.instance, context.airflow)
        there = find_or_log(fetch, None, f"{what} of the instance", context.log) if wanted else None
        missing = {name: places for name, places in wanted.items() if there is not None and name not in there}
        if missing and rule in _ELSEWHERE:
            named = {name for one, name in _collect(parts, checkout, files.values()) if one is rule}
            if len(named) >= 2 * len(named & (there or set())) or _has_backend(context):
                context.log.info(
                    f"{what} that the database of the instance does not have: {join(sorted(missing))}. No warning: they may "
                    f"come from {_ELSEWHERE[rule]} or a secrets backend, as far as can be known."
                )
                continue
        for name, places in missing.items():
            message = f"The instance has no {finding.message.format(name)}"
            for (file, line), users in places.items():
                affects = tuple(dict.fromkeys(dag_id for user in users for dag_id in dag_ids.get(user, ())))
                found.append(replace(finding, message=message, file=checkout.relate(file), line=line, affects=affects))
    return found


def _collect(parts: Dependencies, checkout: Checkout, files: Iterable[str]) -> Places:
    """Collect what files, and what they are made of, name."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        for part in sorted(parts.list_parts(file)):
            users[part].append(file)
    places: defaultdict[tuple[Rule, str], dict[tuple[str, int], list[str]]] = defaultdict(dict)
    for part, own in users.items():
        for one in list_literal_ids(part, checkout.read(part)):
            places[one.rule, one.name][part, one.line] = own
    return places


def _fetch_names(rule: Rule, instance: InstanceReader, airflow: AirflowClient) -> frozenset[str]:
    """Fetch the names of all that the database of the instance has of a kind, and never a value."""
    if rule is Rule.MISSING_TRIGGERER:
        triggerer = fetch_health(airflow).components.get("triggerer")
        return frozenset() if triggerer and triggerer.status != "healthy" else frozenset({""})
    if rule is Rule.MISSING_VARIABLE:  # GET /variables gives their values, too
        execution = instance.run("variables list", "-o", "json")
        if execution is None or not execution.outcome.succeeded:
            raise ActionError("airflow variables list gave no usable answer.", "")
        return frozenset(str(row.get("key")) for row in execution.outcome.records or ())
    path, field = ("/pools", "name") if rule is Rule.MISSING_POOL else ("/connections", "connection_id")
    return frozenset(str(row.get(field)) for row in airflow.fetch_list(path))


def _has_backend(context: Context) -> bool:
    """Whether the configuration has a secrets backend. Most instances do not show it: then this is not known."""
    sections: list[dict[str, Any]] = []
    for option in _BACKENDS:
        shown = find_or_log(partial(context.airflow.fetch_object, f"/config/{option}"), None, "Secrets backend", context.log)
        sections += (shown or {}).get("sections") or ()
    return any(option.get("value") for section in sections for option in section.get("options") or ())
