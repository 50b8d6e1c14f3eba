"""The rows by which others see that a clock is alive."""

from __future__ import annotations

import time
from datetime import timedelta

from ..elapsed import is_recent
from ..models import Clock
from ..process import remembered
from .now import database_now
from .who import worker_name

# In seconds: how often a clock says that it is alive.
EVERY = 10.0
FORGOTTEN_AFTER = timedelta(days=1)

_beaten: dict[tuple[str, str], float] = remembered({})


def beat(using: str) -> None:
    """Say that this process ticks; asked at each tick, it writes every ten seconds."""
    name = worker_name()
    earlier = _beaten.get((using, name))
    if is_recent(earlier, EVERY):
        return
    now = database_now(using)
    Clock.objects.using(using).filter(ticked_at__lt=now - FORGOTTEN_AFTER).delete()
    values = {"ticked_at": now}
    # Another process may have had the same name before.
    started = values if earlier is not None else {**values, "started_at": now}
    Clock.objects.using(using).update_or_create(
        name=name, defaults=started, create_defaults={"started_at": now, **values}
    )
    _beaten[using, name] = time.monotonic()


def leave(using: str) -> None:
    """Say that this process ticks no more."""
    _beaten.pop((using, worker_name()), None)
    Clock.objects.using(using).filter(name=worker_name()).delete()


def alive_clocks(using: str) -> list[Clock]:
    """Return the clocks that tick on this database."""
    return list(Clock.objects.using(using).alive(database_now(using)))
