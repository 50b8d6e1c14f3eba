"""Programs that a test needs and a machine may not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.servers.private_server import Missing, is_ci


def missing(reason: object) -> NoReturn:
    """Skip a test for want of a program; in continuous integration it fails."""
    if is_ci():
        pytest.fail(str(reason))
    pytest.skip(str(reason))


@contextmanager
def skip_where_missing() -> Iterator[None]:
    """Skip the test where the body finds no program that it needs; in continuous integration it fails."""
    try:
        yield
    except Missing as reason:
        missing(reason)
