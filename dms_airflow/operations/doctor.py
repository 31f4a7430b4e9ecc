"""`doctor`: checks every part of the connection to Airflow: whether it works, how long it takes, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dms_airflow import __version__
from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.commands.run import execute
from dms_airflow.airflow.health import fetch_health
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3, parse_version
from dms_airflow.core.errors import ActionError, CheckError
from dms_airflow.core.http.retry import retry
from dms_airflow.core.inputs import input_field, parse_choice, parse_text
from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Result, Table
from dms_airflow.deploy.publish import check_rights

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.login_token import LoginToken
    from dms_airflow.operations.context import Context

T = TypeVar("T")

OUTPUTS = frozenset({"airflow-version", "json"})

COMMAND_TIMEOUT = 120.0  # seconds; Airflow itself takes three to start
PROBE_TIMEOUT = 20.0  # seconds

# A signature may be fifteen minutes off; an id-token lives some minutes only.
WORST_CLOCK = 300.0  # seconds

HINT_CLOCK = "Synchronise the clock of this machine (NTP): signatures and id-tokens depend on it."
HINT_INSTANCE = "Check in DMS's console that the instance is running, and read its log."
HINT_SCHEDULER = "Without it no DAG runs and no new file is parsed. Read its log in DMS's console; restart the instance."
NOTE_WARNINGS = (
    "; it reports deprecations in DAG files only when the instance's environment has PYTHONWARNINGS=default::DeprecationWarning"
)
HINT_VERSION = "The instance is being upgraded, or was not restarted after an upgrade. Check it in DMS's console."


@dataclass(frozen=True, kw_only=True)
class Params:
    """The inputs of `doctor`."""

    arguments: str = input_field(parse_choice("deploy"), default="")
    workspace_id: str = input_field(parse_text, default="")

    def list_secrets(self) -> Sequence[str]:
        """List what must be masked: nothing."""
        return ()


OK, FAILED, NOT_REACHED = "ok", "failed", "not reached"
_MARKS = {OK: "✅ ok", FAILED: "❌ failed", NOT_REACHED: "⚪ not reached"}


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check, as the output `json` has it. One that was not made took no time."""

    check: str
    state: str
    milliseconds: int | None = None
    detail: str = ""
    advice: str = ""


class Doctor:
    """Makes one check after the other, and collects the results.

    Each method that is a check returns what later ones need, and what was found; or None if nothing was found for a reason that
    another check is about.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.results: list[CheckResult] = []
        self.annotations: list[Annotation] = []
        self.blocks: list[Table | Folded | Diagram] = []

    def check(self, name: str, examine: Callable[[], tuple[T, str] | None] | None) -> T | None:
        """Make a check, and log its result; without `examine` it was not reached. Return what later checks need."""
        clock = self._context.clock
        started, value, result = clock.monotonic(), None, CheckResult(check=name, state=NOT_REACHED)
        try:
            if examine and (found := examine()):
                value, detail = found
                result = replace(result, state=OK, detail=detail)
        except ActionError as error:
            result = replace(result, state=FAILED, detail=error.message, advice=error.hint)
            report = error.to_result()
            self.annotations += report.annotations
            self.blocks += report.blocks
        duration = ""
        if result.state != NOT_REACHED:
            result = replace(result, milliseconds=round(1000 * (clock.monotonic() - started)))
            duration = f" ({result.milliseconds} ms)"
        self.results.append(result)
        self._context.log.info(f"{_MARKS[result.state]}: {name}{duration}{f': {result.detail}' if result.detail else ''}")
        return value

    def compare_clocks(self) -> tuple[bool, str] | None:
        """Compare this machine's clock with that of the OpenAPI's host: any response has a date."""
        openapi = self._context.config.openapi
        try:
            response = self._context.transport.exchange("GET", openapi.url, "/", timeout=PROBE_TIMEOUT)
            date = parsedate_to_datetime(response.headers["Date"])
        except (ActionError, KeyError, ValueError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        difference = (self._context.clock.time_of_day() - date).total_seconds()
        words = f"{abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} {openapi.authority}"
        if abs(difference) > WORST_CLOCK:
            raise CheckError(f"This machine's clock is {words}.", HINT_CLOCK)
        return True, words

    def obtain_keys(self) -> tuple[Keys, str]:
        """Get keys of Alibaba Cloud."""
        keys = retry(self._context.session.obtain_keys, clock=self._context.clock, log=self._context.log)
        return keys, f"{'temporary keys' if keys.security_token else 'an AccessKey'} by {keys.origin}"

    def fetch_token(self, keys: Keys) -> tuple[LoginToken, str]:
        """Fetch a login token from Alibaba Cloud's OpenAPI."""
        fetch = partial(self._context.session.fetch_token, keys)
        return retry(fetch, clock=self._context.clock, log=self._context.log), "gave a login token"

    def log_in(self, token: LoginToken) -> tuple[bool, str]:
        """Log in to Airflow."""
        self._context.session.log_in(token)
        return True, self._context.session.host

    def check_rest(self) -> tuple[bool, str]:
        """Find the API, which reports its version to anybody, and see whether the session may read DAGs there."""
        airflow, version = self._context.airflow, self._context.airflow.version
        if not version.number:
            raise CheckError(f"{airflow.url} reports no version, below {AIRFLOW_2.api} or {AIRFLOW_3.api}.", HINT_INSTANCE)
        return True, f"{version.api}, {airflow.fetch_page('/dags', limit=1).total} DAGs"

    def check_cli(self) -> tuple[str, str]:
        """Run `airflow version`."""
        execution = execute(CommandLine(name="version"), COMMAND_TIMEOUT, self._context)
        if not execution.outcome.succeeded:
            raise CheckError(f"airflow version failed: {execution.outcome.reason}", HINT_INSTANCE)
        number = execution.stdout.strip().rpartition("\n")[2].strip()
        return number, f"airflow version: {number}"

    def check_health(self) -> tuple[bool, str]:
        """Read Airflow's own report of its health."""
        health = fetch_health(self._context.airflow)
        if health.unhealthy:
            raise CheckError(f"Airflow reports a problem: {'; '.join(map(str, health.unhealthy))}.", HINT_SCHEDULER)
        return True, str(health)

    def compare_versions(self, numbers: Sequence[str]) -> tuple[bool, str]:
        """Compare the versions that REST and the command line report, those that are known."""
        if len(set(numbers)) > 1:
            raise CheckError("REST reports Airflow {}, the CLI {}.".format(*numbers), HINT_VERSION)
        known = parse_version(numbers[0])
        return True, f"Airflow {numbers[0]}{NOTE_WARNINGS if known and known.major == AIRFLOW_2.major else ''}"


def run(params: Params, context: Context) -> Result:
    """Make every check. One that does not need what failed is made too."""
    doctor, config = Doctor(context), context.config
    # Wrong inputs have ended the step before.
    doctor.check("inputs", lambda: (True, f"{config.instance_id} at {config.openapi.authority}"))
    doctor.check("clock", doctor.compare_clocks)
    keys = doctor.check("credentials", doctor.obtain_keys)
    token = doctor.check("OpenAPI", partial(doctor.fetch_token, keys) if keys else None)
    is_open = doctor.check("login", partial(doctor.log_in, token) if token else None)
    doctor.check("REST", doctor.check_rest if is_open else None)
    version = context.airflow.known_version
    cli = doctor.check("CLI", doctor.check_cli if is_open else None)
    numbers = [number for number in (version and version.number, cli) if number]
    # Anybody may read the health, also those who may not read DAGs.
    doctor.check("scheduler", doctor.check_health if version and version.number else None)
    doctor.check("version", partial(doctor.compare_versions, numbers) if numbers else None)
    if params.arguments:
        doctor.check("deploy", (lambda: (True, check_rights(params.workspace_id, context))) if is_open else None)
    results = doctor.results
    failed = [one.check for one in results if one.state == FAILED]
    passed = sum(one.state == OK for one in results)
    headline = f"{passed} of {len(results)} checks passed"
    return Result(
        ending=Ending.FAILURE if failed else Ending.SUCCESS,
        headline=f"{headline}; failed: {', '.join(failed)}" if failed else headline,
        outputs={
            "airflow-version": numbers[0] if numbers else "",
            "json": json.dumps([asdict(one) for one in results], ensure_ascii=False),
        },
        annotations=tuple(doctor.annotations),
        blocks=(_tabulate(results), *doctor.blocks),
    )


def _tabulate(results: Sequence[CheckResult]) -> Table:
    """Make the table to paste into a support ticket."""
    return Table(
        heading=f"doctor, dms-airflow {__version__}",
        columns=("check", "state", "ms", "found", "what to do"),
        rows=tuple(
            (
                one.check,
                _MARKS[one.state],
                "" if one.milliseconds is None else str(one.milliseconds),
                one.detail,
                one.advice.partition("\n")[0],  # a policy to paste is shown separately
            )
            for one in results
        ),
    )
