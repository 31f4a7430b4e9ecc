"""Ten ways in which an instance's owner may have set Airflow's log, for 2.10.4 and for 3.2.2.

What a command prints differs with each. Airflow 3 sends its log to standard output whatever its logging config says; there an
owner's `airflow_local_settings.py` gives Airflow's own function another stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_BARE_FORMAT = "%(message)s"

_CONFIG_2 = """
import json
import logging
from copy import deepcopy

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG


class JsonFormatter(logging.Formatter):
    def format(self, record):
        fields = {"timestamp": record.created, "level": record.levelname.lower(), "logger": record.name}
        fields["event"] = record.getMessage()
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


_console = DEFAULT_LOGGING_CONFIG["handlers"]["console"]
_on_stderr = {**_console, "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}

AS_JSON = deepcopy(DEFAULT_LOGGING_CONFIG)
for name in ("airflow", "airflow_coloured"):
    AS_JSON["formatters"][name] = {"()": JsonFormatter}

STDERR = deepcopy(DEFAULT_LOGGING_CONFIG)
STDERR["handlers"]["console"] = _on_stderr

COPIED_TO_STDERR = deepcopy(DEFAULT_LOGGING_CONFIG)
COPIED_TO_STDERR["handlers"]["copy"] = _on_stderr
COPIED_TO_STDERR["root"]["handlers"].append("copy")
"""

_LOCAL_SETTINGS_3 = """
import sys

from airflow._shared import logging as shared_logging

__all__ = []


class Both:
    encoding = "utf-8"

    def write(self, text):
        sys.stderr.write(text)
        return sys.stdout.write(text)

    def flush(self):
        sys.stderr.flush()
        sys.stdout.flush()


_configure_logging = shared_logging.configure_logging


def configure_logging(**options):
    _configure_logging(**{"output": OUTPUT, **options})


shared_logging.configure_logging = configure_logging
"""


def _logging(**variables: str) -> Mapping[str, str]:
    return {f"AIRFLOW__LOGGING__{name}": value for name, value in variables.items()}


def _with_format(log_format: str) -> Mapping[str, str]:
    # Airflow 2 has another format for a log in colours, which it takes unless colours are switched off.
    return _logging(LOG_FORMAT=log_format, COLORED_CONSOLE_LOG="False")


def _with_config(name: str) -> Settings:
    """Airflow 2: a logging config of the owner's."""
    return Settings(variables=_logging(LOGGING_CONFIG_CLASS=f"log_config.{name}"), files={"log_config.py": _CONFIG_2})


def _with_output(expression: str) -> Settings:
    """Airflow 3: another stream for its log."""
    return Settings(files={"airflow_local_settings.py": f"{_LOCAL_SETTINGS_3}OUTPUT = {expression}\n"})


_BOTH: Mapping[str, Settings] = {
    "default": Settings(),
    "another-format": Settings(variables=_with_format(_FORMAT)),
    "warning": Settings(variables=_logging(LOGGING_LEVEL="WARNING")),
    "error": Settings(variables=_logging(LOGGING_LEVEL="ERROR")),
    "debug": Settings(variables=_logging(LOGGING_LEVEL="DEBUG")),
    "colours": Settings(variables={"FORCE_COLOR": "1"}),
    "bare": Settings(variables=_with_format(_BARE_FORMAT)),
}

LOG_SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "2.10.4": {
        **_BOTH,
        "json": _with_config("AS_JSON"),
        "copied-to-stderr": _with_config("COPIED_TO_STDERR"),
        "stderr": _with_config("STDERR"),
    },
    "3.2.2": {
        **_BOTH,
        "json": Settings(variables=_logging(JSON_LOGS="True")),
        "copied-to-stderr": _with_output("Both()"),
        "stderr": _with_output("sys.stderr"),
    },
}
"""By Airflow's version and a name."""

LOG_SETTING_NAMES: Sequence[str] = tuple(LOG_SETTINGS["3.2.2"])
