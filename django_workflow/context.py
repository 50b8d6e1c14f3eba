"""What a handler is given as ``context``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from .codec import decode, differs, encode_top_level, load
from .storable import clean_text

MAX_LOG_LINES = 1000
MAX_LOG_LINE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What woke a step that waited: ``timer`` after a ``Sleep``."""

    name: str
    payload: Any = None
    at: datetime | None = None


class State(MutableMapping[str, Any]):
    """The run's shared data.

    Values are decoded when first read; what a handler changed is found by comparing.
    """

    def __init__(self, stored: Mapping[str, Any], using: str) -> None:
        self._stored = stored
        self._using = using
        self._values: dict[str, Any] = {}
        self._deleted: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            if key in self._deleted or key not in self._stored:
                raise KeyError(key)
            self._values[key] = load(decode(self._stored[key], using=self._using))
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value
        self._deleted.discard(key)

    def __delitem__(self, key: str) -> None:
        self[key]
        self._values.pop(key, None)
        self._deleted.add(key)

    def __iter__(self) -> Iterator[str]:
        kept = [key for key in self._stored if key not in self._deleted]
        return iter([*kept, *(key for key in self._values if key not in self._stored)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"State({dict(self)!r})"

    def _is_new(self, key: str, value: Any) -> bool:
        return key not in self._stored or differs(self._stored[key], value)

    def changes(self) -> StateChanges:
        """Return what was written, encoded.

        Raises ``NotStorable`` naming the path (``state.user.avatar``).
        """
        if not self._values and not self._deleted:
            return NO_CHANGES
        encoded = encode_top_level(self._values, "state", using=self._using)
        written = {key: value for key, value in encoded.items() if self._is_new(key, value)}
        deleted = tuple(sorted(self._deleted & set(self._stored)))
        return StateChanges(written=written, deleted=deleted, read=self._stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanges:
    """The keys a step wrote, with their new values, and those it deleted; ``read``: the state that it had."""

    written: Mapping[str, Any] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    read: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.written or self.deleted)

    def apply(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``state`` with these changes."""
        return {**{key: value for key, value in state.items() if key not in self.deleted}, **self.written}


NO_CHANGES = StateChanges()


@dataclass(slots=True, kw_only=True)
class Hooks:
    """What a call of a handler tells the engine through its context, and what it asks the engine there."""

    lines: list[str] = field(default_factory=list)
    done_of_total: tuple[float, float] | None = None
    is_cancelled: Callable[[], bool] = lambda: False
    beat: Callable[[], None] = lambda: None


@dataclass(slots=True, kw_only=True)
class StepContext:
    """The run around a handler call.

    ``step_run_id`` is this attempt's row, ``state`` the run's shared data (a mutable mapping; changes are
    saved with the step), ``steps`` the outputs by step name, ``event`` what woke the step,
    ``idempotency_key`` a text that is the same for every attempt of this step, visit and item. ``index`` is
    None outside ``for_each``; ``using`` is the database alias of the run.
    """

    run_id: UUID
    step_run_id: UUID
    workflow: str
    step: str
    visit: int
    attempt: int
    item: Any
    index: int | None
    state: State
    steps: Mapping[str, Any]
    event: Event | None
    idempotency_key: str
    using: str = "default"
    _hooks: Hooks = field(default_factory=Hooks, repr=False)

    def log(self, *parts: object) -> None:
        """Keep a line of text on the step run: at most 1,000 lines of 2,000 characters."""
        if len(self._hooks.lines) < MAX_LOG_LINES:
            self._hooks.lines.append(clean_text(" ".join(str(part) for part in parts), MAX_LOG_LINE))

    def progress(self, done: float, total: float) -> None:
        """Say how far the step is: ``done`` of ``total``. Raises ``ValueError`` for no finite number."""
        pair = (float(done), float(total))
        if not all(math.isfinite(number) for number in pair):
            raise ValueError(f"progress({done!r}, {total!r}): two finite numbers are needed")
        self._hooks.done_of_total = pair

    def heartbeat(self) -> None:
        """Renew the lease now. Raises ``LeaseLost`` when the step belongs to another worker by now."""
        self._hooks.beat()

    @property
    def cancelled(self) -> bool:
        """Whether the run is ending, as far as the last renewal of the lease saw.

        A handler may then stop early.
        """
        return self._hooks.is_cancelled()
