"""The leases this process holds, kept by one thread.

It renews them, gives back what waits behind a slow handler, and ends a worker whose handler does not end.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import Error, connections, transaction

from ..conf import get_settings
from ..dispatch import ring
from ..exceptions import LeaseLost
from ..models import StepRun, StepRunQuerySet
from . import in_touch
from .give_back import RunIsBusy, give_back
from .news import News
from .now import database_now
from .turns import renewing

logger = logging.getLogger("django_workflow")

# All in seconds. Behind a handler that has run for so long, what has not begun is given back.
SLOW = 1.0
# A handler that goes on for so long after its timeout ends the worker's process.
GRACE = 10.0
# The thread ends when nothing was held for so long.
IDLE = 10.0
# The longest pause between two looks.
PAUSE = 0.5


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """A claim on a step run, and what its last renewal saw.

    ``renewed``, ``begun`` and ``overdue`` are moments of the monotonic clock; ``limit`` is in seconds.
    """

    using: str
    run_id: UUID
    step_run_id: UUID
    token: UUID
    queue: str
    renewed: float
    begun: float | None = None
    limit: float | None = None
    is_over: bool = False
    # When the handler was first seen to be past its limit: a process that was stopped gets its grace, too.
    overdue: float | None = None
    is_lost: bool = False
    run_is_ending: bool = False
    is_given_back: bool = False
    # What the handler that runs has said.
    news: News | None = None

    @property
    def is_running(self) -> bool:
        """Whether the handler has begun and not yet returned."""
        return self.begun is not None and not self.is_over

    @property
    def has_news(self) -> bool:
        """Whether a renewal would write something that the handler has said."""
        return self.is_running and self.news is not None and self.news.is_due()

    def begin(self, limit: float | None, news: News | None = None) -> None:
        """Note that the handler starts now and may run for ``limit`` seconds; ``news`` is what it says.

        Raises ``LeaseLost`` when the step run is no longer ours, or may not be: for a whole lease it was not
        renewed.
        """
        with _lock:
            now = time.monotonic()
            self.is_lost = self.is_lost or (_has_keeper and now - self.renewed > _lease())
            if self.is_lost or self.is_given_back:
                raise _lost(self)
            self.begun, self.limit, self.is_over, self.overdue = now, limit, False, None
            self.news = news

    def end(self) -> None:
        """Note that the handler has returned."""
        self.is_over = True

    def take_back(self) -> None:
        """Note that what the handler did was rolled back: it has not begun."""
        self.begun, self.is_over = None, False

    def demand(self) -> None:
        """Look at the rows, and renew the lease, now. Raises ``LeaseLost``."""
        # In a transaction, an atomic handler's or one of its own, the row would stay locked until the commit,
        # and nobody could renew it.
        _look(self.using, [self], renews=not connections[self.using].in_atomic_block)
        if self.is_lost or self.is_given_back:
            raise _lost(self)

    def is_cancelled(self) -> bool:
        """Whether the handler may stop: its run is ending, or the step is no longer its own."""
        return self.is_lost or self.run_is_ending


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(
        f"step run {lease.step_run_id} belongs to another worker by now; nothing more is recorded."
    )


def _lease() -> float:
    return get_settings().LEASE.total_seconds()


# Leases that are held, with the thread that claimed them, and those on their way back.
_held: dict[Lease, int] = {}
_returning: dict[Lease, None] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None
_may_kill = False
# Whether a thread keeps what is held. Without one nobody renews, and nobody may call a lease too old.
_has_keeper = True
# Aliases whose outage was logged.
_failing: set[str] = set()


def _begin_anew() -> None:
    """A forked process holds none of its parent's leases, and has neither its thread nor its locks."""
    global _lock, _thread, _may_kill
    _lock, _thread, _may_kill = threading.Lock(), None, False
    _held.clear()
    _returning.clear()
    _failing.clear()


os.register_at_fork(after_in_child=_begin_anew)


def allow_kill() -> None:
    """Let the lease thread kill this process, a worker's, when a handler goes on past timeout and grace."""
    global _may_kill
    _may_kill = True


@contextmanager
def without_keeper() -> Iterator[None]:
    """Let no thread look at what is claimed in the body: for tests, whose rows no other connection sees."""
    global _has_keeper
    _has_keeper = False
    try:
        yield
    finally:
        _has_keeper = True


def hold(lease: Lease) -> None:
    """Keep ``lease``, just claimed by this thread, renewed until it is released."""
    global _thread
    in_touch.note(lease.using)
    if not _has_keeper:
        return
    with _lock:
        _held[lease] = threading.get_ident()
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_keep, name="workflow-leases", daemon=True)
            _thread.start()


def release(lease: Lease) -> None:
    """Renew ``lease`` no more: its step is recorded, lost or given back."""
    with _lock:
        _held.pop(lease, None)


def _keep() -> None:
    """The thread: look at what is held several times a lease; end when nothing was held for a while."""
    global _thread
    last_held = time.monotonic()
    while True:
        time.sleep(min(_lease() / 6, PAUSE))
        now = time.monotonic()
        with _lock:
            held = dict(_held)
            if held or _returning:
                last_held = now
            elif now - last_held > IDLE:
                _thread = None
                return
        _end_overrunning(held, now)
        _return_behind_slow(held, now)
        _renew_old(held, now)


def _end_overrunning(held: Iterable[Lease], now: float) -> None:
    for lease in held:
        if not lease.is_running or lease.limit is None or now - (lease.begun or now) <= lease.limit:
            continue
        lease.overdue = lease.overdue or now
        if _may_kill and now - lease.overdue >= GRACE:
            text = "A handler of run %s ran %s s past its timeout; this worker is killed. Step run: %s"
            logger.critical(text, lease.run_id, GRACE, lease.step_run_id)
            os.kill(os.getpid(), signal.SIGKILL)


def _return_behind_slow(held: Mapping[Lease, int], now: float) -> None:
    slow = {
        thread for lease, thread in held.items() if lease.is_running and now - (lease.begun or now) >= SLOW
    }
    behind = [lease for lease, thread in held.items() if thread in slow and lease.begun is None]
    for using in {lease.using for lease in (*behind, *_returning) if not _is_private(lease.using)}:
        with renewing(using) as may_write, _connected(using):
            if may_write:
                _mark([lease for lease in behind if lease.using == using])
                _return(using)


def _mark(behind: Iterable[Lease]) -> None:
    """Let nobody begin them any more: from here on they are the thread's."""
    with _lock:
        for lease in behind:
            if lease.begun is None and lease in _held:
                lease.is_given_back = True
                del _held[lease]
                _returning[lease] = None


def _return(using: str) -> None:
    queues = set()
    for lease in [each for each in _returning if each.using == using]:
        with suppress(RunIsBusy):
            if give_back(using, lease.run_id, lease.step_run_id, lease.token, waits=False):
                queues.add(lease.queue)
            del _returning[lease]
    for queue in queues:
        ring(using, queue)


def _renew_old(held: Iterable[Lease], now: float) -> None:
    """Renew what is older than a third of a lease, or has news, as soon as nothing is being recorded.

    What is much older does not wait for that.
    """
    old = [lease for lease in held if now - lease.renewed > _lease() / 3 or lease.has_news]
    for using in {lease.using for lease in old}:
        leases = [lease for lease in old if lease.using == using]
        if _is_private(using):
            for lease in leases:
                lease.renewed = now
            continue
        is_urgent = any(now - lease.renewed > _lease() * 2 / 3 for lease in leases)
        with renewing(using) as may_write, _connected(using):
            if may_write or is_urgent:
                _look(using, leases, renews=True)


@contextmanager
def _connected(using: str) -> Iterator[None]:
    """Close the thread's connection behind the body; an outage is logged once, and all is tried again."""
    try:
        yield
        _failing.discard(using)
    except Error as error:
        in_touch.lose(using)
        if using not in _failing:
            _failing.add(using)
            text = "Leases on database %r could not be renewed or given back; this is tried again: %s"
            logger.warning(text, using, error)
    finally:
        connections[using].close()


def _look(using: str, leases: Sequence[Lease], *, renews: bool) -> None:
    """See which leases are lost and which runs are ending, and renew what is ours."""
    at = time.monotonic()
    ids, tokens = [lease.step_run_id for lease in leases], {lease.token for lease in leases}
    rows = StepRun.objects.using(using).filter(pk__in=ids, lease_token__in=tokens)
    news = {lease.step_run_id: lease.news for lease in leases if lease.news is not None and lease.has_news}
    renewed = _renew(using, rows, database_now(using) + get_settings().LEASE, news) if renews else set()
    for step_run_id in renewed & set(news):
        news[step_run_id].note_written()
    # An undo goes on while its run is ending.
    read = rows.values_list("pk", "lease_token", "run__ending", "undoes")
    found = {(pk, token): "" if undoes else ending for pk, token, ending, undoes in read}
    in_touch.note(using)
    for lease in leases:
        ending = found.get((lease.step_run_id, lease.token))
        lease.is_lost, lease.run_is_ending = lease.is_lost or ending is None, bool(ending)
        if lease.step_run_id in renewed:
            lease.renewed = at


def _renew(using: str, rows: StepRunQuerySet, until: datetime, news: Mapping[UUID, News]) -> set[UUID]:
    """Move the expiry on, write news, and return whose it was.

    Rows that somebody writes right now are left for later.
    """
    features = connections[using].features
    if not features.has_select_for_update_skip_locked:
        rows.update(lease_until=until, due_at=until)
        ids = set(rows.values_list("pk", flat=True))
        _write_news(rows, ids, news)
        return ids
    with transaction.atomic(using=using):
        free = rows.select_for_update(skip_locked=True, no_key=features.has_select_for_no_key_update)
        ids = set(free.values_list("pk", flat=True))
        StepRun.objects.using(using).filter(pk__in=ids).update(lease_until=until, due_at=until)
        _write_news(rows, ids, news)
    return ids


def _write_news(rows: StepRunQuerySet, ids: set[UUID], news: Mapping[UUID, News]) -> None:
    for step_run_id in ids & set(news):
        rows.filter(pk=step_run_id).update(**news[step_run_id].columns())


def _is_private(using: str) -> bool:
    """Whether the database is in this process's memory: nobody takes over, and the thread sees nothing."""
    connection = connections[using]
    return connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]
