"""The naive model's events: stored first, the oldest goes to the step that has waited longest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.rows import Event, Row

if TYPE_CHECKING:
    from tests.reference.flow import FlowRun


def fits(row: Row, event: Event) -> bool:
    """Say whether ``row`` waits for ``event``, and has not read it before."""
    return not event.is_taken and event.name in row.names and event.place not in row.read


def read_earlier(run: FlowRun, row: Row) -> set[int]:
    """Return the shared events that earlier visits of the step have read, which were not begun anew."""
    read: set[int] = set()
    for each in run.rows:
        if (each.step, each.index) == (row.step, row.index) and each.visit < row.visit:
            read |= each.read if each.status in ("done", "skipped") or each.is_handled else set()
    return read


def take(row: Row, event: Event) -> None:
    """Let ``row`` have ``event``; shared, it stays in store for others."""
    row.event = (event.name, event.place)
    if row.is_shared:
        row.read.add(event.place)
    else:
        event.is_taken = True
        row.taken.append(event)


def give_out(run: FlowRun) -> None:
    """Give the events in store to the rows that wait for them."""
    for event in run.paths.book.events:
        waiting = [row for row in run.rows if row.waiting_for == "event" and fits(row, event)]
        waiting.sort(key=lambda row: row.number)
        alone = [row for row in waiting if not row.is_shared]
        for row in [row for row in waiting if row.is_shared] + alone[:1]:
            take(row, event)
            row.close("pending")
