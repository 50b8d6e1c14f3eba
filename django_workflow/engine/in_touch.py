"""How long this process has been in touch with a database without a break.

After an outage the living renew their leases first. Only a process that was in touch for as long as that
takes can tell a lease that nobody renews from one that nobody could renew.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ..conf import get_settings
from ..process import remembered

# In seconds. Clocks tick every second, and one may take a moment: a gap of less is no break.
LONGEST_TICK = 3.0


@dataclass(slots=True, kw_only=True)
class _Contact:
    """``since`` and ``latest`` are moments of the monotonic clock, ``by_wall`` is the latest, too."""

    since: float
    latest: float
    by_wall: float
    follows_outage: bool = False

    def gap(self) -> float:
        """Return how many seconds ago the database answered last; infinity where no clock can tell.

        The monotonic clock stands still while a machine is suspended, the wall clock does not.
        """
        passed = time.monotonic() - self.latest
        return max(passed, time.time() - self.by_wall) if passed >= 0 else math.inf


_contacts: dict[str, _Contact] = remembered({})


def renewal_interval() -> float:
    """Return, in seconds, how often a lease is renewed: each third of it."""
    return get_settings().LEASE.total_seconds() / 3


def note(using: str) -> None:
    """Note that the database answered just now.

    After a gap, such as an outage or a time in which this process was stopped, it begins anew. A lease that
    is renewed every third of its time outlives any gap of less than half of it.
    """
    now, contact = time.monotonic(), _contacts.get(using)
    longest_gap = max(renewal_interval() * 1.5, LONGEST_TICK)
    if contact is not None and contact.gap() <= longest_gap:
        contact.latest, contact.by_wall = now, time.time()
    else:
        _contacts[using] = _Contact(
            since=now, latest=now, by_wall=time.time(), follows_outage=contact is not None
        )


def lose(using: str) -> None:
    """Note that the database did not answer."""
    _contacts[using] = _Contact(
        since=time.monotonic(), latest=-math.inf, by_wall=-math.inf, follows_outage=True
    )


def is_in_touch(using: str) -> bool:
    """Whether the database has answered for a renewal interval, without a break, until just now."""
    contact = _contacts.get(using)
    return contact is not None and contact.latest - contact.since >= renewal_interval()


def seconds_since_outage(using: str) -> float:
    """Return how long ago the latest outage ended that this process saw; infinity where it saw none."""
    contact = _contacts.get(using)
    return time.monotonic() - contact.since if contact is not None and contact.follows_outage else math.inf
