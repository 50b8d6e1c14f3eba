"""The step types of a project, for people: what each does, its params, what a crash may do to it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from ..definition.yaml_writing import write_yaml
from ..durations import format_duration
from ..models import Workflow
from ..params import Param
from ..registry import Handler, get_handler
from ..retry import retry_to_json


def describe_flags(handler: Handler) -> Iterator[str]:
    """Yield what was said at the registration, beside the params."""
    yield from (name for name in ("atomic", "idempotent") if getattr(handler, name))
    if not handler.rerun_after_crash:
        yield "not rerun after a crash"
    if handler.is_async:
        yield "async"
    if handler.retry:
        yield f"retry {json.dumps([retry_to_json(each) for each in handler.retry])}"
    if handler.timeout is not None:
        yield f"timeout {format_duration(handler.timeout)}"
    if handler.queue is not None:
        yield f"queue {handler.queue}"
    if handler.permission:
        yield f"permission {handler.permission}"
    if handler.aliases:
        yield f"formerly {', '.join(handler.aliases)}"


def describe_param(param: Param) -> str:
    """Return a param in a line: name, type, default and help."""
    default = "" if param.required else f" = {default_of(param)}"
    help_text = f"  {param.help}" if param.help else ""
    return f"{param.name}: {type_of(param)}{default}{help_text}"


def type_of(param: Param) -> str:
    """Return the type of a param in a few words."""
    return param.marker or _kind(param.schema())


def describe_type(param: Param) -> str:
    """Return the type of a param for people: a row by its model, null left out where nothing may be given."""
    field = param.field()
    if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
        return str(field.queryset.model._meta.label)
    return type_of(param) if param.required else type_of(param).removesuffix(" or null")


def default_of(param: Param) -> str:
    """Return the default of a param as JSON."""
    return json.dumps(param.schema().get("default"))


def _kind(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return str(schema.get("format", name))


def describe_place(handler: Handler) -> str:
    """Return where the handler is written."""
    function = inspect.unwrap(handler.function)
    code = getattr(function, "__code__", None)
    line = "" if code is None else f" (line {code.co_firstlineno})"
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}{line}"


def describe_crash(handler: Handler) -> str:
    """Return what becomes of a step when its process dies in the middle."""
    if handler.atomic:
        return _("It runs again; its database writes happen exactly once.")
    if handler.idempotent:
        return _("It runs again, which does no harm.")
    if not handler.rerun_after_crash:
        return _("It does not run again: it fails as interrupted, outcome unknown.")
    return _("It runs again: at least once.")


def describe_retry(handler: Handler) -> str:
    """Return how it is retried, a policy after the other; an empty text for not at all."""
    policies = (retry_to_json(policy).items() for policy in handler.retry)
    return "; ".join(", ".join(f"{key}: {_plain(value)}" for key, value in policy) for policy in policies)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def example_of(handler: Handler) -> str:
    """Return a step of this type as text of a definition, to be pasted and filled in."""
    wanted = [param for param in handler.params if param.required] or list(handler.params)[:1]
    step: dict[str, Any] = {"type": handler.type}
    if wanted:
        step["with"] = {param.name: _example(param) for param in wanted}
    return write_yaml([step])


def _example(param: Param) -> Any:
    schema = param.schema()
    if schema.get("default") is not None:
        return schema["default"]
    kind = schema.get("type")
    by_kind = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    if "enum" in schema:
        return schema["enum"][0]
    if param.marker == "step":
        return "name_of_a_step"
    if param.marker == "condition":
        return "total > 100"
    if param.marker == "secret":
        return "name_of_a_secret"
    return by_kind.get(str(kind), f"{{{{ {param.name} }}}}")


def where_used(using: str | None = None) -> dict[str, list[tuple[int, str]]]:
    """Return the published workflows, by key and name, that use each type, as an undo too. One query."""
    used: dict[str, dict[int, str]] = {}
    workflows = Workflow.objects.using(using).filter(published__isnull=False).order_by("name")
    for pk, name, spec in workflows.values_list("pk", "name", "published__spec").iterator():
        for type in _types(spec):
            handler = get_handler(type)
            used.setdefault(type if handler is None else handler.type, {})[pk] = name
    return {type: list(found.items()) for type, found in used.items()}


def _types(spec: Any) -> Iterator[str]:
    """Yield the types in a stored definition; one row of another shape must not hide all types."""
    steps = spec.get("steps") if isinstance(spec, dict) else None
    for step in steps if isinstance(steps, list) else ():
        for part in (step, step.get("undo")) if isinstance(step, dict) else ():
            if isinstance(part, dict):
                yield str(part.get("type", ""))
