"""The leases this process holds, renewed by one thread while handlers run (ENGINE.md rules 1, 22 and 27)."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import Error, connections

from ..conf import get_settings
from ..exceptions import LeaseLost
from ..models import StepRun
from .now import database_now

logger = logging.getLogger("django_workflow")


@dataclass(slots=True, kw_only=True)
class Lease:
    """A claim on a step run, and what its last renewal saw."""

    using: str
    step_run_id: UUID
    token: UUID
    is_lost: bool = False
    run_is_ending: bool = False

    def renew(self) -> None:
        """Move the expiry on and look at the run.

        A database that is busy leaves everything for the next time.
        """
        until = database_now(self.using) + get_settings().LEASE
        rows = StepRun.objects.using(self.using).filter(pk=self.step_run_id, lease_token=self.token)
        self.is_lost = not rows.update(lease_until=until, due_at=until)
        if not self.is_lost:
            self.run_is_ending = rows.exclude(run__ending="").exists()

    def demand(self) -> None:
        """Renew the lease now. Raises ``LeaseLost``."""
        self.renew()
        if self.is_lost:
            raise LeaseLost(
                f"step run {self.step_run_id} belongs to another worker by now; nothing more is recorded."
            )

    def is_cancelled(self) -> bool:
        """Whether the handler may stop: its run is ending, or the step is no longer its own."""
        return self.is_lost or self.run_is_ending


_held: dict[UUID, Lease] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None
_wake = threading.Event()


def _forget_held() -> None:
    """A forked process holds none of its parent's leases, and has no thread that renews them."""
    global _thread
    _held.clear()
    _thread = None


os.register_at_fork(after_in_child=_forget_held)


@contextmanager
def hold(lease: Lease) -> Iterator[None]:
    """Keep ``lease`` renewed while the body runs.

    The thread touches the database only after a third of the lease.
    """
    with _lock:
        _held[lease.token] = lease
        _start_thread()
    try:
        yield
    finally:
        with _lock:
            _held.pop(lease.token, None)


def _start_thread() -> None:
    global _thread
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_renew_for_ever, name="workflow-leases", daemon=True)
        _thread.start()


def _renew_for_ever() -> None:
    """Renew what is held every third of a lease; end when nothing was held for so long."""
    global _thread
    seen: set[UUID] = set()
    while True:
        _wake.wait(get_settings().LEASE.total_seconds() / 3)
        with _lock:
            held = list(_held.values())
            if not held and not seen:
                _thread = None
                return
        for lease in held:
            if lease.token in seen:
                _renew_quietly(lease)
        seen = {lease.token for lease in held}
        connections.close_all()


def _renew_quietly(lease: Lease) -> None:
    if connections[lease.using].vendor == "sqlite" and connections[lease.using].is_in_memory_db():  # type: ignore[attr-defined]
        return
    try:
        lease.renew()
    except Error as error:
        logger.warning(
            "The lease of step run %s could not be renewed, and is tried again: %s", lease.step_run_id, error
        )
