"""How a run is started without the admin: the same as a command line, and as Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.duration import duration_iso_string

from ..durations import format_duration
from ..references import key_of


def as_command(workflow: str, input: Mapping[str, Any], key: str) -> str:
    """Return the command line that triggers ``workflow``; rows are given by their keys."""
    words = ["python", "manage.py", "trigger_workflow", workflow]
    if key:
        # What begins with a hyphen would be read as another option.
        words += [f"--key={key}"] if key.startswith("-") else ["--key", key]
    if input:
        words += ["--input", json.dumps(_plain(input), ensure_ascii=False)]
    return shlex.join(words)


def as_python(workflow: str, input: Mapping[str, Any], key: str) -> str:
    """Return the Python that triggers ``workflow``, with its imports."""
    arguments = [repr(workflow)]
    if input:
        arguments.append(_write(input))
    if key:
        arguments.append(f"key={key!r}")
    imports = sorted({*_imports(input), "from django_workflow import trigger"})
    return "\n".join([*imports, "", f"run = trigger({', '.join(arguments)})"])


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON that the declared input reads back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Model):
        return key_of(value)
    if isinstance(value, timedelta):
        return format_duration(value) if value >= timedelta(0) else duration_iso_string(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Enum):
        return _plain(value.value)
    return str(value) if isinstance(value, (Decimal, UUID)) else value


def _write(value: Any) -> str:
    """Return ``value`` as Python."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_write(item) for item in value) + "]"
    if isinstance(value, Model):
        model = type(value)
        return f"{model.__name__}.{model._default_manager.name}.get(pk={_write(value.pk)})"
    if isinstance(value, datetime):
        return f"datetime.fromisoformat({value.isoformat()!r})"
    if isinstance(value, (date, time)):
        return f"{type(value).__name__}.fromisoformat({value.isoformat()!r})"
    if isinstance(value, timedelta):
        return repr(value).removeprefix("datetime.")
    return _write(value.value) if isinstance(value, Enum) else repr(value)


def _imports(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _imports(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _imports(item)
    elif isinstance(value, Model):
        yield f"from {type(value).__module__} import {type(value).__name__}"
        yield from _imports(value.pk)
    elif isinstance(value, (date, time, timedelta)):
        yield f"from datetime import {type(value).__name__}"
    elif isinstance(value, (Decimal, UUID)):
        yield f"from {type(value).__module__} import {type(value).__name__}"
