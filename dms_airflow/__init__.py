"""Run Airflow CLI commands and REST calls on Alibaba Cloud DMS Airflow instances, from a GitHub workflow."""

from __future__ import annotations

__version__ = "0.1.0"
