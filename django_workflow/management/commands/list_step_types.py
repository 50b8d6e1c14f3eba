"""``manage.py list_step_types``: what a definition's ``type`` may be, and the params of each."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...durations import format_duration
from ...exceptions import RegistrationError
from ...params import Param
from ...registry import Handler, all_handlers
from ...retry import retry_to_json


class Command(BaseCommand):
    """Lists every registered step type with its params, flags and place."""

    help = "List the registered step types and their params."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the form of the answer, and which types."""
        parser.add_argument(
            "prefix", nargs="?", default="", help="Only types that begin with this, such as mail."
        )
        parser.add_argument("--json", action="store_true", help="One JSON array; params as JSON Schema.")

    def handle(self, **options: Any) -> None:
        """List the types."""
        handlers = [each for each in all_handlers() if each.type.startswith(options["prefix"])]
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(each) for each in handlers], indent=2, ensure_ascii=False))
            return
        for handler in handlers:
            self.stdout.write("\n".join(_describe(handler)))
        if not handlers:
            self.stdout.write("No step type begins so.")


def _describe(handler: Handler) -> Iterator[str]:
    flags = "".join(f"  [{flag}]" for flag in _flags(handler))
    yield f"{handler.type}{flags}"
    if handler.help_text:
        yield f"    {handler.help_text}"
    try:
        for param in handler.params:
            yield f"      {_describe_param(param)}"
        if handler.params.extra:
            yield "      any other keys"
    except RegistrationError as error:
        yield f"      cannot be used: {error}"
    yield f"    {_place(handler)}"


def _flags(handler: Handler) -> Iterator[str]:
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


def _describe_param(param: Param) -> str:
    schema = param.schema()
    default = "" if param.required else f" = {json.dumps(schema.get('default'))}"
    help_text = f"  {param.help}" if param.help else ""
    return f"{param.name}: {param.marker or _kind(schema)}{default}{help_text}"


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


def _as_json(handler: Handler) -> dict[str, Any]:
    own: dict[str, Any] = {
        "type": handler.type,
        "label": handler.label,
        "help": handler.help_text,
        "place": _place(handler),
    }
    own |= {"flags": list(_flags(handler)), "aliases": list(handler.aliases)}
    try:
        return {**own, "params": handler.params.schema()}
    except RegistrationError as error:
        return {**own, "params": None, "error": str(error)}


def _place(handler: Handler) -> str:
    function = inspect.unwrap(handler.function)
    code = getattr(function, "__code__", None)
    line = "" if code is None else f" (line {code.co_firstlineno})"
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}{line}"
