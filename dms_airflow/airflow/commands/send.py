"""One CLI command over HTTP: sent, and judged by what it printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from dms_airflow.airflow.client import AirflowClient, encode_query
from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.commands.verdict import Outcome, judge
from dms_airflow.airflow.responses import is_unknown_route, quote_beginning
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3
from dms_airflow.core.errors import AnswerError

# The path that DMS's documentation names, and what it may be called on Airflow 3, in this order.
COMMAND_PATHS = tuple(f"{version.api}/command" for version in (AIRFLOW_2, AIRFLOW_3))

# What a server responds to a URL that is too long. Airflow 2's, gunicorn, responds 400, with these words in a page
# (gunicorn/http/errors.py, and `limit_request_line` of its configuration).
_TOO_LONG = (HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
_REQUEST_LINE = "Request Line is too large"

HINT_LONG = (
    "A request body has no such limit: trigger a DAG with a long conf by operation: rest, arguments: POST /dags/DAG_ID/dagRuns "
    'and body: {"conf": …}; set a long variable by POST /variables.'
)
HINT_COMMAND = "Check that the instance is running and that its Airflow version offers commands over HTTP."


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A command that ran, what it printed, and how it ended. DMS never reports the exit status."""

    line: CommandLine
    stdout: str
    stderr: str
    outcome: Outcome


def run_command(airflow: AirflowClient, line: CommandLine, *, timeout: float, repeatable: bool | None = None) -> Execution:
    """Run a command for at most `timeout` seconds, and judge it. Nothing that it prints is shown.

    If its response is lost, it is sent again where it is `repeatable`: by default, if it only reads.

    Raises:
        ActionError: The command's stdout and stderr are not known.
    """
    is_repeatable = line.command.repeatable if repeatable is None else repeatable
    stdout, stderr = send_command(airflow, line.words, repeatable=is_repeatable, timeout=timeout)
    outcome = judge(line.command, line.arguments, stdout, stderr, airflow.redact)
    return Execution(line=line, stdout=stdout, stderr=stderr, outcome=outcome)


def send_command(airflow: AirflowClient, words: Sequence[str], *, repeatable: bool, timeout: float) -> tuple[str, str]:
    """Send the words of a command, without ``airflow``, and return its stdout and stderr. Else as `run_command`."""
    query = encode_query([("command", shlex.join(words))])
    path = airflow.command_path or COMMAND_PATHS[0]
    response = airflow.request("POST", path, query=query, timeout=timeout, repeatable=repeatable)
    if not airflow.command_path and is_unknown_route(response):
        path = COMMAND_PATHS[1]
        response = airflow.request("POST", path, query=query, timeout=timeout, repeatable=repeatable)
    is_bad_request = response.status == HTTPStatus.BAD_REQUEST
    if response.status in _TOO_LONG or (is_bad_request and _REQUEST_LINE in response.text):
        raise AnswerError(
            f"POST {path} answered {response.status}: the command is longer than the instance takes. DMS takes commands in the "
            "URL, and Airflow 2's web server no more than 4,094 bytes of it.",
            HINT_LONG,
            status=response.status,
        )
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise airflow.make_error(response, f"POST {path}", HINT_COMMAND)
    airflow.command_path = path
    try:
        content = response.parse()  # whatever its content type: how DMS labels it is not documented
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"stdout", "stderr"} & content.keys():
        raise AnswerError(
            f"{airflow.url} answered the command with status {response.status}, but without stdout and stderr. "
            f"The answer begins: {quote_beginning(response, airflow.redact)}",
            f"Whether the command ran is not known. {HINT_COMMAND}",
        )
    return str(content.get("stdout") or ""), str(content.get("stderr") or "")
