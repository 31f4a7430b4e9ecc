"""DMS on one machine, for the demo and for tests: OpenAPI, login and command line in front of a real Airflow."""

from __future__ import annotations

from sandbox.installation import Installation, NotInstalledError
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS, Sandbox

__all__ = ["BROKEN_DAGS", "GOOD_DAGS", "Installation", "NotInstalledError", "Sandbox"]
