"""When a failed step is tried again: a policy as a value, and the choice among several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .durations import format_duration, parse_duration

MAX_ATTEMPTS = 10_000

# What may be given; the policy itself holds a timedelta and a tuple of names.
Duration = timedelta | str | float
ErrorClass = str | type[BaseException]
Errors = ErrorClass | Sequence[ErrorClass]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A retry policy.

    ``attempts`` counts in all, the first included. The wait before attempt *n* + 1 is ``delay × backoff ** (n
    - 1)``, at most ``max_delay``, plus up to ``jitter`` (a share from 0 to 1) of it at random. ``errors`` are
    classes or class names, bare or dotted, that match the class or a base; left out, every error is retried
    but a ``PermanentError``. Durations are ``timedelta``, ``"30s"`` or seconds. Raises ``ValueError`` for
    values that make no sense.
    """

    attempts: int = 3
    delay: Duration = timedelta(seconds=1)
    backoff: float = 2.0
    max_delay: Duration = timedelta(hours=1)
    jitter: float = 0.0
    errors: Errors = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay", parse_duration(self.delay))
        object.__setattr__(self, "max_delay", parse_duration(self.max_delay))
        object.__setattr__(self, "errors", tuple(_error_name(error) for error in _listed(self.errors)))
        if not _is_number(self.attempts, whole=True) or not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(
                f"attempts is {self.attempts!r}: a whole number from 1 to {MAX_ATTEMPTS:,} is needed"
            )
        if not _is_number(self.backoff) or not 1 <= self.backoff <= 100:
            raise ValueError(f"backoff is {self.backoff!r}: a number from 1 to 100 is needed")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is {self.jitter!r}: a share from 0 to 1 is needed")

    @property
    def error_names(self) -> frozenset[str]:
        """The names of the errors the policy is for; empty where it is for every error."""
        return frozenset(_error_name(error) for error in _listed(self.errors))

    def wait(self, attempt: int, roll: float) -> timedelta:
        """Return how long to wait after ``attempt`` (from 1) has failed.

        ``roll`` is a random number from 0 to 1.
        """
        longest = parse_duration(self.max_delay).total_seconds()
        try:
            seconds = min(parse_duration(self.delay).total_seconds() * self.backoff ** (attempt - 1), longest)
        except OverflowError:
            seconds = longest
        return timedelta(seconds=seconds * (1 + self.jitter * roll))


RETRY_KEYS = ("attempts", "delay", "backoff", "max_delay", "jitter", "errors")


def retry_from_json(data: Mapping[str, Any]) -> Retry:
    """Return the policy that a definition's ``retry`` describes.

    Raises ``ValueError`` naming what is wrong.
    """
    unknown = sorted(set(data) - set(RETRY_KEYS))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(RETRY_KEYS)}")
    return Retry(**data)


def retry_to_json(retry: Retry) -> dict[str, Any]:
    """Return ``retry`` as a definition writes it, without what is the default."""
    default = Retry()
    changed = {key: getattr(retry, key) for key in RETRY_KEYS if getattr(retry, key) != getattr(default, key)}
    return {key: _plain(value) for key, value in changed.items()} or {"attempts": retry.attempts}


def choose_policy(policies: Sequence[Retry], names: Iterable[str]) -> Retry | None:
    """Return the first policy that matches an error with these class ``names`` (its own and its bases')."""
    known = set(names)
    return next((policy for policy in policies if not policy.errors or known & policy.error_names), None)


def error_names(error: BaseException | type[BaseException]) -> tuple[str, ...]:
    """Return the names an error answers to, nearest class first.

    Bare and dotted, of the class and its bases.
    """
    kind = error if isinstance(error, type) else type(error)
    bases = [base for base in kind.__mro__ if base not in (object, BaseException)]
    return tuple(name for base in bases for name in dict.fromkeys((base.__qualname__, type_name(base))))


def type_name(kind: type) -> str:
    """Return the name of an error class: dotted, bare for a built-in one."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _error_name(error: object) -> str:
    if isinstance(error, type):
        return type_name(error)
    if isinstance(error, str) and error:
        return error
    raise ValueError(f"errors holds {error!r}: error classes or their names are needed")


def _listed(errors: Any) -> Iterable[Any]:
    return (errors,) if isinstance(errors, (str, type)) else errors


def _is_number(value: object, *, whole: bool = False) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    return list(value) if isinstance(value, tuple) else value
