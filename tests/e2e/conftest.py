"""One sandbox for all end-to-end tests of a session: a real Airflow, with a copy of the sample DAGs to write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import NotInstalledError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox. A test that changes it puts it back."""
    try:
        with Sandbox.start() as running:
            yield running
    except NotInstalledError as error:
        pytest.fail(str(error), pytrace=False)
