"""Registered handlers whose signature no definition can fill."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from ..exceptions import RegistrationError
from ..registry import Handler, all_handlers


def check_signatures(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E006: the params of a step type cannot be read from its function."""
    return [message for handler in all_handlers() if (message := _check(handler)) is not None]


def _check(handler: Handler) -> CheckMessage | None:
    try:
        _signature = handler.signature
    except RegistrationError as error:
        hint = "Annotate each parameter with a type that params have, imported where the function can see it."
        return Error(str(error), hint, f"step type {handler.type}", "django_workflow.E006")
    return None
