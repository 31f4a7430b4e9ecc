"""Run Airflow commands, deploys and checks on Airflow instances of Alibaba Cloud DMS, from any CI system or a terminal."""

from __future__ import annotations

__version__ = "0.1.0"
