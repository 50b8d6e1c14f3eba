"""``manage.py list_step_types``: what a definition's ``type`` may be, and the params of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...exceptions import RegistrationError
from ...insight.catalogue import describe_flags, describe_param, describe_place
from ...registry import Handler, all_handlers


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
    flags = "".join(f"  [{flag}]" for flag in describe_flags(handler))
    yield f"{handler.type}{flags}"
    if handler.help_text:
        yield f"    {handler.help_text}"
    try:
        for param in handler.params:
            yield f"      {describe_param(param)}"
        if handler.params.extra:
            yield "      any other keys"
    except RegistrationError as error:
        yield f"      cannot be used: {error}"
    yield f"    {describe_place(handler)}"


def _as_json(handler: Handler) -> dict[str, Any]:
    own: dict[str, Any] = {
        "type": handler.type,
        "label": handler.label,
        "help": handler.help_text,
        "place": describe_place(handler),
    }
    own |= {"flags": list(describe_flags(handler)), "aliases": list(handler.aliases)}
    try:
        return {**own, "params": handler.params.schema()}
    except RegistrationError as error:
        return {**own, "params": None, "error": str(error)}
