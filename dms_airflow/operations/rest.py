"""Any call of Airflow's REST API: `METHOD PATH`, a JSON body, and every page of a list."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from dms_airflow.airflow.client import READ_TIMEOUT
from dms_airflow.airflow.commands.send import COMMAND_PATHS
from dms_airflow.airflow.responses import parse_page
from dms_airflow.core.errors import AnswerError, InputProblem
from dms_airflow.core.http.exchange import Response
from dms_airflow.core.inputs import InputValueError, input_field, parse_duration, parse_json, parse_words, quote_value
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result
from dms_airflow.core.secrets.values import find_secrets

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = frozenset({"json", "status-code"})

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PAGINATE = "--paginate"

# Where Airflow answers with secrets of other people: variables, connections, the configuration, the words of commands.
_SECRET_PATHS = re.compile(r"(?:/api/v\d+)?/(?:variables|connections|config|eventLogs)(?:/|$)")
# These values of connections and variables are not secret; a misspelled key is not known.
_SHOWN_KEYS = frozenset({"connection_id", "conn_type", "description", "host", "login", "schema", "port", "key"})
_SECRET_KEYS = re.compile(r"pass|secret|token|credential|private|extra|uri|^value$|key_?file|access_?key", re.IGNORECASE)

# A longer answer is shown without indentation: it is cut anyway.
LONGEST_INDENTED = 1024 * 1024  # characters; indentation takes Python four times as long

NOT_SHOWN = "(not shown: it may contain secrets; the output json has it)"
HINT_REFUSED = "Airflow's message above says what it did not accept: https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html"

HINT_REDIRECT = "Redirects are not followed, to keep the session from other hosts: use the path in the API reference."


@dataclass(frozen=True, kw_only=True)
class Request:
    """A REST call: method, encoded path and query. A path that does not begin with /api is one below the instance's API."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    paginate: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def answers_secrets(self) -> bool:
        """Whether Airflow's response may contain secrets of other people."""
        return _SECRET_PATHS.match(unquote(self.path)) is not None


def parse_request(text: str) -> Request:
    """Read `METHOD PATH [--paginate]`."""
    words = list(parse_words(text))
    paginate = PAGINATE in words
    if paginate:
        words.remove(PAGINATE)
    if len(words) != 2:  # noqa: PLR2004 - method and path
        raise InputValueError("must be METHOD PATH, such as GET /dags?limit=5; quote a path with blanks in it")
    method = words[0].upper()
    if method not in METHODS:
        raise InputValueError(f"must begin with one of {', '.join(METHODS)}, not {quote_value(words[0])}")
    if paginate and method != "GET":
        raise InputValueError(f"{PAGINATE} is for GET only, not for {method}")
    path, query = parse_path(words[1])
    return Request(method=method, path=path, query=query, paginate=paginate)


def parse_path(text: str) -> tuple[str, str]:
    """Read a path below the instance's API, with its query.

    A path that leaves the API is refused in every disguise: another host, dot segments, also encoded ones, backslashes.
    """
    path, _, query = text.partition("?")
    plain = path
    while (decoded := unquote(plain)) != plain:
        plain = decoded
    if urlsplit(text).scheme or urlsplit(text).netloc or text.startswith("//"):
        raise InputValueError(f"takes a path of the instance's API, not a URL: {quote_value(path)}")
    if {".", ".."} & set(re.split(r"[/\\;]", plain)) or "\\" in plain or re.search(r"[\x00-\x1f\x7f]", plain):
        raise InputValueError(f"has a path that leaves the API: {quote_value(path)}")
    path = "/" + path.lstrip("/")
    encoded = quote(path, safe="/%:@!$&'()*+,;=~")
    if posixpath.normpath(unquote(encoded)) in ("/command", *COMMAND_PATHS):
        raise InputValueError(
            "must not be the command endpoint: set operation to the CLI command, so that its success is checked"
        )
    return encoded, quote(query, safe="/%:@!$&'()*+,;=~?[]")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The inputs of a REST call."""

    arguments: Request = input_field(parse_request, required=True, default=Request())
    body: str = input_field(parse_json, default="")
    timeout: float = input_field(parse_duration, default=READ_TIMEOUT)

    def check(self) -> Iterator[InputProblem]:
        """Check that a body is sent with a method that has one."""
        if self.body and self.arguments.method in ("GET", "HEAD", "OPTIONS"):
            yield InputProblem(name="body", message=f"is not sent with {self.arguments.method}; leave it empty")

    def list_secrets(self) -> Sequence[str]:
        """List the body's values that look like passwords."""
        if self.arguments.answers_secrets:
            # Even if it is not an object: Airflow quotes what it refuses.
            whole = self.body if self.body.startswith("{") else json.dumps({"": json.loads(self.body)} if self.body else {})
            return find_secrets(whole, lambda key: key not in _SHOWN_KEYS)
        return find_secrets(self.body, lambda key: _SECRET_KEYS.search(key) is not None)


def run(params: Params, context: Context) -> Result:
    """Send the call, or a call for each page."""
    request = replace(params.arguments, path=context.airflow.locate(params.arguments.path))
    context.log.info(str(request))
    if request.paginate:
        response, content = _fetch_pages(request, context)
    else:
        response = context.airflow.request(
            request.method, request.path, query=request.query, body=params.body or None, timeout=params.timeout
        )
        content = _parse(response, request, context.airflow.url)
    text = "" if content is None else json.dumps(content, ensure_ascii=False)
    headline, annotations = f"{request} answered {response.status}", tuple[Annotation, ...]()
    if not _is_success(response):
        hint = HINT_REDIRECT if response.status < HTTPStatus.BAD_REQUEST else HINT_REFUSED
        error = context.airflow.make_error(response, str(request), hint)
        headline, message = error.message, f"{error.message}\n{error.hint}"
        annotations = (Annotation(level=Level.ERROR, title="Airflow refused the request", message=message),)
    shown = _show(response, content, text, request)
    context.log.fold("answer", shown)
    return Result(
        ending=Ending.FAILURE if annotations else Ending.SUCCESS,
        headline=headline,
        outputs={"json": text, "status-code": response.status},
        annotations=annotations,
        blocks=(Folded(heading="answer", text=shown, language="json" if response.is_json else "text"),),
    )


def _is_success(response: Response) -> bool:
    """Whether the request was carried out. A redirect is not followed, so that nothing was done."""
    return HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES


def _parse(response: Response, request: Request, url: str) -> Any:
    """Parse the body as JSON; None for an empty one, or one whose content type is not JSON.

    Raises:
        AnswerError: A success that cannot be one: broken JSON, or a web page in place of data.
    """
    if not response.body.strip():
        return None
    if response.is_json:
        try:
            return response.parse()
        except ValueError:
            raise AnswerError(
                f"{request} at {url} answered {response.status} with JSON that is broken.",
                "The request may have been carried out; check in Airflow before you run the step again.",
            ) from None
    if response.status < HTTPStatus.BAD_REQUEST and response.content_type == "text/html":
        raise AnswerError(
            f"{request} at {url} answered {response.status} with a web page where data was expected.",
            "Check the path; a proxy or gateway may have answered in place of Airflow.",
        )
    return None


def _fetch_pages(request: Request, context: Context) -> tuple[Response, Any]:
    """Fetch every page of a list, and put all entries into the first page's object."""
    given = parse_qsl(request.query, keep_blank_values=True)
    query = [(name, value) for name, value in given if name not in ("limit", "offset")]
    whole: dict[str, Any] = {}
    entries: list[Any] = []
    total = 0
    for response in context.airflow.fetch_pages(request.path, query):
        page = parse_page(response)
        if page is None and _is_success(response):
            raise AnswerError(
                f"{request} is not a list with total_entries, so there are no pages to fetch.",
                f"Leave out {PAGINATE}.",
            )
        if page is None:
            return response, _parse(response, request, context.airflow.url)
        whole = whole or response.parse_object()
        entries += page.entries
        whole[page.key], total = entries, page.total
    if len(entries) < total:
        raise AnswerError(
            f"{request} has {total} entries, but its pages ended after {len(entries)}.",
            "The list changed while it was read; run the step again.",
        )
    return response, whole


def _show(response: Response, content: object, text: str, request: Request) -> str:
    if request.answers_secrets and response.status < HTTPStatus.BAD_REQUEST:
        return NOT_SHOWN
    if not text:
        return response.text
    return text if len(text) > LONGEST_INDENTED else json.dumps(content, indent=2, ensure_ascii=False)
