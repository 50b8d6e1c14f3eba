"""What a process remembers of databases, queues and step types, so that one call can forget all of it."""

from __future__ import annotations

from typing import Protocol, TypeVar


class Memory(Protocol):
    """A container: a dict, a set, a counter."""

    def clear(self) -> None: ...


M = TypeVar("M", bound=Memory)
_memories: list[Memory] = []


def remembered(memory: M) -> M:
    """Return ``memory``, which ``forget`` empties from now on."""
    _memories.append(memory)
    return memory


def forget() -> None:
    """Empty every memory: this process then knows as little as one that has just started."""
    for memory in _memories:
        memory.clear()
