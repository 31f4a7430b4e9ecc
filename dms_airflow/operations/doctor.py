"""`doctor`: checks every step between the runner and Airflow: whether it works, how long it takes, and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from dms_airflow import __version__
from dms_airflow.airflow.commands.command_line import CommandLine
from dms_airflow.airflow.commands.run import execute
from dms_airflow.airflow.health import fetch_health
from dms_airflow.airflow.pages import describe_problem
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3, parse_version
from dms_airflow.core.errors import ActionError, LinkError
from dms_airflow.core.http.retry import retry
from dms_airflow.core.inputs import input_field, parse_choice
from dms_airflow.core.result import Ending, Result, Table
from dms_airflow.operations.deploy import check_rights, parse_workspace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dms_airflow.airflow.version import Version
    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.core.http.exchange import Response
    from dms_airflow.core.result import Annotation, Diagram, Folded
    from dms_airflow.core.secrets.tokens import LoginToken
    from dms_airflow.operations.context import Context

T = TypeVar("T")

OUTPUTS = frozenset({"airflow-version", "json"})


class StepState(StrEnum):
    """How the check of a step ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_REACHED = "not reached"


_MARKS = {StepState.OK: "✅ ok", StepState.FAILED: "❌ failed", StepState.NOT_REACHED: "⚪ not reached"}

COMMAND_TIMEOUT = 120.0  # seconds; Airflow itself takes three to start
PROBE_TIMEOUT = 20.0  # seconds

# A signature may be fifteen minutes off; an id-token lives some minutes only.
WORST_CLOCK = 300.0  # seconds

HINT_CLOCK = "Synchronise the clock of this machine (NTP): signatures and id-tokens depend on it."
HINT_REST = "Check in DMS's console that the instance is running. The identity needs a role in Airflow that can read DAGs."
HINT_CLI = "Check in DMS's console that the instance is running, and read its log: a command answers only if Airflow starts."
HINT_SCHEDULER = "Without it no DAG runs and no new file is parsed. Read its log in DMS's console; restart the instance."
NOTE_WARNINGS = (
    "; it reports deprecations in DAG files only when the instance's environment has PYTHONWARNINGS=default::DeprecationWarning"
)
HINT_VERSION = "The instance is being upgraded, or was not restarted after an upgrade. Check it in DMS's console."


@dataclass(frozen=True, kw_only=True)
class Params:
    """The inputs of `doctor`."""

    arguments: str = input_field(parse_choice("deploy"), default="")
    workspace_id: str = input_field(parse_workspace_id, default="")

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked: nothing."""
        return ()


@dataclass(frozen=True, kw_only=True)
class CheckedStep:
    """The result of the check of one step.

    Args:
        name: For example ``login``.
        state: How it ended.
        milliseconds: What it took; None when it was not tried.
        detail: What was found.
        advice: What to do.
    """

    name: str
    state: StepState
    milliseconds: int | None = None
    detail: str = ""
    advice: str = ""


class Examination:
    """Checks one step after the other, and collects the results."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.steps: list[CheckedStep] = []
        self.annotations: list[Annotation] = []
        self.blocks: list[Table | Folded | Diagram] = []

    def check(
        self, name: str, step: Callable[[], tuple[T, str]], *, after: object = True, started: float | None = None
    ) -> T | None:
        """Check a step.

        Args:
            name: For example ``login``.
            step: Returns what later steps need, and a description.
            after: What it needs of earlier steps; None if they failed.
            started: When it was begun, by the monotonic clock; now when it is None.

        Returns:
            What the step returned; None if it failed or was not reached.
        """
        if after is None:
            self.note(CheckedStep(name=name, state=StepState.NOT_REACHED))
            return None
        clock = self._context.clock
        started = clock.monotonic() if started is None else started
        try:
            value, detail = step()
        except ActionError as error:
            took = round(1000 * (clock.monotonic() - started))
            result = error.to_result()
            self.annotations += result.annotations
            self.blocks += result.blocks
            self.note(
                CheckedStep(name=name, state=StepState.FAILED, milliseconds=took, detail=error.message, advice=error.hint)
            )
            return None
        self.note(
            CheckedStep(name=name, state=StepState.OK, milliseconds=round(1000 * (clock.monotonic() - started)), detail=detail)
        )
        return value

    def note(self, step: CheckedStep) -> None:
        """Add a result, and log it."""
        self.steps.append(step)
        took = "" if step.milliseconds is None else f" ({step.milliseconds} ms)"
        self._context.log.info(f"{_MARKS[step.state]}: {step.name}{took}{f': {step.detail}' if step.detail else ''}")


def run(params: Params, context: Context) -> Result:
    """Check every step. One that does not need a failed step is checked too."""
    config, session = context.config, context.session
    examination = Examination(context)
    check = examination.check
    examination.note(
        CheckedStep(
            name="inputs", state=StepState.OK, milliseconds=0, detail=f"{config.instance_id} at {config.openapi.authority}"
        )
    )
    _check_clock(examination, context)

    def obtain_keys() -> tuple[Keys, str]:
        keys = retry(session.obtain_keys, clock=context.clock, log=context.log)
        return keys, f"{'temporary keys' if keys.security_token else 'an AccessKey'} by {keys.origin}"

    def fetch_token(keys: Keys) -> tuple[LoginToken, str]:
        token = retry(lambda: session.fetch_token(keys), clock=context.clock, log=context.log)
        return token, "gave a login token"

    def log_in(token: LoginToken) -> tuple[bool, str]:
        session.log_in(token)
        return True, session.host

    keys = check("credentials", obtain_keys)
    token = check("OpenAPI", lambda: fetch_token(_have(keys)), after=keys)
    is_in = check("login", lambda: log_in(_have(token)), after=token)
    check("REST", lambda: _check_rest(context), after=is_in)
    known = context.airflow.known_version
    version = known if known and known.number else None
    cli = check("CLI", lambda: _check_cli(context), after=is_in)
    # Anybody may read the health, also those who may not read DAGs.
    check("scheduler", lambda: _check_health(context), after=version)
    check("version", lambda: _compare_versions(version, cli), after=version or cli)
    if params.arguments:
        check("deploy", lambda: (True, check_rights(params.workspace_id, context)), after=is_in)
    return _conclude(examination, version.number if version else cli or "")


def _have(value: T | None) -> T:
    assert value is not None  # noqa: S101 - `after` has seen to it
    return value


def _check_clock(examination: Examination, context: Context) -> None:
    """Compare clocks with the OpenAPI's host: any answer has a date. Whether the host is there at all is not judged here."""
    started = context.clock.monotonic()
    try:
        answer = context.transport.exchange("GET", context.config.openapi.url, "/", timeout=PROBE_TIMEOUT)
        date = _read_date(answer)
    except ActionError as error:
        examination.note(CheckedStep(name="clock", state=StepState.NOT_REACHED, detail=error.message))
        return
    if date is None:
        examination.note(CheckedStep(name="clock", state=StepState.NOT_REACHED, detail="The OpenAPI's host sends no date."))
        return
    difference = (context.clock.time_of_day() - date).total_seconds()

    def judge() -> tuple[float, str]:
        word = "ahead of" if difference > 0 else "behind"
        words = f"{abs(difference):.0f} s {word} {context.config.openapi.authority}"
        if abs(difference) > WORST_CLOCK:
            raise LinkError(f"This machine's clock is {words}.", HINT_CLOCK)
        return difference, words

    examination.check("clock", judge, started=started)


def _read_date(answer: Response) -> datetime | None:
    try:
        date = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _check_rest(context: Context) -> tuple[Version, str]:
    """Find the API, which reports its version to anybody, and see whether the session may read DAGs there."""
    version = context.airflow.version
    if not version.number:
        paths = " nor ".join(f"{one.api}/version" for one in (AIRFLOW_2, AIRFLOW_3))
        raise LinkError(f"Neither {paths} at {context.airflow.url} reported a version.", HINT_REST)
    path = version.locate("/dags")
    response = context.airflow.request("GET", path, query="limit=1")
    if response.status != HTTPStatus.OK:
        raise LinkError(f"GET {path} answered {response.status}: {describe_problem(response, context.log.redact)}", HINT_REST)
    return version, f"{version.api}, {response.parse_object().get('total_entries', 'some')} DAGs"


def _check_cli(context: Context) -> tuple[str, str]:
    execution = execute(CommandLine(name="version"), COMMAND_TIMEOUT, context)
    if not execution.outcome.succeeded:
        raise LinkError(f"airflow version failed: {execution.outcome.reason}", HINT_CLI)
    version = execution.stdout.strip().rpartition("\n")[2].strip()
    return version, f"airflow version: {version}"


def _check_health(context: Context) -> tuple[bool, str]:
    """Read Airflow's own report of its health."""
    health = fetch_health(context.airflow)
    if health.unhealthy:
        raise LinkError(f"Airflow reports a problem: {'; '.join(map(str, health.unhealthy))}.", HINT_SCHEDULER)
    return True, str(health)


def _compare_versions(version: Version | None, cli: str | None) -> tuple[str, str]:
    numbers = {number for number in (version and version.number, cli) if number}
    if len(numbers) > 1:
        raise LinkError(f"REST reports Airflow {version and version.number}, the CLI {cli}.", HINT_VERSION)
    number = numbers.pop()
    known = parse_version(number)
    return number, f"Airflow {number}{NOTE_WARNINGS if known and known.major == AIRFLOW_2.major else ''}"


def _conclude(examination: Examination, version: str) -> Result:
    steps = examination.steps
    broken = [step.name for step in steps if step.state == StepState.FAILED]
    count = (
        f"{len(steps) - len(broken) - sum(step.state == StepState.NOT_REACHED for step in steps)} of {len(steps)} links hold"
    )
    return Result(
        ending=Ending.FAILURE if broken else Ending.SUCCESS,
        headline=f"{count}; broken: {', '.join(broken)}" if broken else count,
        outputs={"airflow-version": version, "json": render_steps(steps)},
        annotations=tuple(examination.annotations),
        blocks=(tabulate(steps), *examination.blocks),
    )


def render_steps(steps: Sequence[CheckedStep]) -> str:
    """Write the results as JSON."""
    return json.dumps(
        [
            {
                "link": step.name,
                "state": step.state,
                "milliseconds": step.milliseconds,
                "detail": step.detail,
                "advice": step.advice,
            }
            for step in steps
        ],
        ensure_ascii=False,
    )


def tabulate(steps: Sequence[CheckedStep]) -> Table:
    """Make the table to paste into a support ticket."""
    return Table(
        heading=f"doctor, dms-airflow {__version__}",
        columns=("link", "state", "ms", "found", "what to do"),
        rows=tuple(
            (
                step.name,
                _MARKS[step.state],
                "" if step.milliseconds is None else str(step.milliseconds),
                step.detail,
                step.advice.partition("\n")[0],  # a policy to paste is shown separately
            )
            for step in steps
        ),
    )
