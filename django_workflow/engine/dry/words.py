"""How a dry run says what it found. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...definition.spec import StepSpec

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def describe_sleep(until: timedelta | datetime, why: str = "") -> str:
    """Return how long a step would wait.

    >>> describe_sleep(timedelta(days=2, hours=1))
    'would wait 2 days 1 hour'
    """
    if isinstance(until, datetime):
        return f"would wait until {until:%Y-%m-%d %H:%M:%S %Z}".rstrip() + why
    rest, parts = round(until.total_seconds()), []
    for name, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count:,} {name}{'' if count == 1 else 's'}")
    return f"would wait {' '.join(parts) or 'for no time'}{why}"


def way_out(spec: StepSpec) -> str:
    """Return what to do about a step whose output is missing."""
    example = f'{{"{spec.name}": {"[…, one for each item]" if spec.for_each else "…"}}}'
    return f"its output is needed: give it in outputs, such as {example}"
