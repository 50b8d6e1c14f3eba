"""From a :class:`WorkflowSpec` back to data, in one stable order.

What a version stores and an export writes.
"""

from __future__ import annotations

from typing import Any

from ..durations import format_duration
from ..retry import Retry, retry_to_json
from .spec import DEFAULT, FORMAT, StepSpec, WorkflowSpec


def write_definition(spec: WorkflowSpec) -> dict[str, Any]:
    """Return ``spec`` as JSON data that :func:`read_definition` reads back to an equal spec.

    Defaults are left out.
    """
    data = {
        "format": FORMAT,
        "name": spec.name,
        "description": spec.description or None,
        "input": None if spec.input is None else dict(spec.input),
        "queue": spec.queue or None,
        "timeout": None if spec.timeout is None else format_duration(spec.timeout),
        "on_failure": spec.on_failure,
        "max_visits": spec.max_visits,
    }
    return {**_present(data), "steps": [write_step(step) for step in spec.steps]}


def write_step(step: StepSpec) -> dict[str, Any]:
    """Return one step as JSON data, its fields in the order of the documentation."""
    timeout = {} if step.timeout is DEFAULT else {"timeout": _timeout(step.timeout)}
    return {
        "name": step.name,
        "type": step.type,
        **_present({"with": dict(step.params) or None, "if": step.condition}),
        **_present({"needs": list(step.needs) if isinstance(step.needs, tuple) else step.needs}),
        **_present({"join": None if step.join == "all" else step.join, "for_each": step.for_each}),
        **_present({"max_parallel": step.max_parallel, "retry": _retry(step.retry)}),
        **timeout,
        **({} if step.on_error == "fail" else {"on_error": step.on_error}),
        **_present(
            {"undo": step.undo and _present({"type": step.undo.type, "with": dict(step.undo.params) or None})}
        ),
        **_present({"next": step.next, "delay": None if step.delay is None else format_duration(step.delay)}),
        **_present({"queue": step.queue or None}),
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _timeout(timeout: Any) -> Any:
    return None if timeout is None else format_duration(timeout)


def _retry(policies: tuple[Retry, ...] | None) -> Any:
    if policies is None:
        return None
    written = [retry_to_json(policy) for policy in policies]
    return written[0] if len(written) == 1 else written
