from __future__ import annotations
from typing import Any


def render_gantt(instances: Any, upstream: Any, now: Any) -> str:
    return ""
