"""Tests; tests/README.md says what each tier proves."""

from __future__ import annotations
