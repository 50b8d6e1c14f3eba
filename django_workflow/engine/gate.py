"""The gate of a run: each transaction that changes it begins by writing its row."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

from django.db.models import F

from ..models import Run


class StaleClaim(Exception):
    """The run was changed since it was read, or the step run is no longer ours. Roll back, and look again."""


class Watched(Protocol):
    """What executes an atomic handler: whether the handler changed its own run is noted on it."""

    run: Run
    is_stale: bool


class _UnderWay(threading.local):
    """Whose atomic handler this thread is calling, in a transaction that holds the run's lock."""

    claim: Watched | None = None


_under_way = _UnderWay()


@contextmanager
def watching(claim: Watched) -> Iterator[None]:
    """Note in ``claim.is_stale`` whether the body, an atomic handler, changes its own run."""
    _under_way.claim, claim.is_stale = claim, False
    try:
        yield
    finally:
        _under_way.claim = None


def pass_gate(using: str, run: Run, values: dict[str, Any]) -> None:
    """Write the run's row, demanding the revision it was read at.

    Raises ``StaleClaim`` when it has another by now.
    """
    if not Run.objects.using(using).filter(pk=run.pk, revision=run.revision).update(**values):
        raise StaleClaim


def lock_run(using: str, run_id: UUID, *, by: int = 1) -> Run:
    """Lock the run by raising its revision, ``by`` as much as there is to record; return it as it is now."""
    claim = _under_way.claim
    if claim is not None and claim.run.pk == run_id:
        claim.is_stale = True
    if not Run.objects.using(using).filter(pk=run_id).update(revision=F("revision") + by):
        raise StaleClaim
    return Run.objects.using(using).select_related("workflow").get(pk=run_id)
