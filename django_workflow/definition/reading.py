"""From a definition's data (JSON, YAML or Python) to a :class:`WorkflowSpec`, with all problems of shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from ..durations import parse_duration
from ..retry import Retry, retry_from_json
from ..spelling import MOST_PROBLEMS, closest, cut
from .plain import MAX_DEPTH, is_too_deep, plain, plain_scalar
from .spec import DEFAULT, FORMAT, JUMP, Problem, StepSpec, UndoSpec, WorkflowSpec

NO_SLUG = "is no slug: letters, digits, hyphens and underscores, at most 100 of them"
SLUG = re.compile(r"[a-z0-9A-Z_-]{1,100}", re.ASCII)

# In text the keys are ``with`` and ``if``; Python keeps these words for itself.
STEP_KEYS = {"with": "params", "if": "condition"}

Reader = Callable[[Any], Any]


def read_definition(data: Any) -> tuple[WorkflowSpec, list[Problem]]:
    """Return the spec that ``data`` describes and everything wrong with its shape.

    What cannot be read is left at its default in the spec, so that the checks of meaning can still say more.
    """
    problems: list[Problem] = []
    if not isinstance(data, Mapping):
        return WorkflowSpec(name="", steps=()), [Problem("a definition is a mapping with name and steps")]
    if is_too_deep(data):
        return WorkflowSpec(name="", steps=()), [Problem(f"it is nested more than {MAX_DEPTH} deep")]
    values = _read_fields(data, WORKFLOW_READERS, {"format", "enabled", "editable"}, Problem, problems)
    if data.get("format", FORMAT) != FORMAT:
        text = f"{data['format']!r:.60} is not known here; this release reads format {FORMAT}"
        problems.append(Problem(text, field="format"))
    steps = values.pop("steps", [])
    names = _complete_names(steps)
    values["steps"] = tuple(_read_step(step, name, problems) for step, name in zip(steps, names, strict=True))
    values.setdefault("name", "")
    if not values["name"] and "name" not in data:
        problems.append(Problem("a name is needed", field="name"))
    return WorkflowSpec(**values), problems


def _read_step(data: Any, name: str, problems: list[Problem]) -> StepSpec:
    if not isinstance(data, Mapping):
        if len(problems) <= MOST_PROBLEMS:
            problems.append(Problem(f"a step is a mapping with a type, not {data!r:.60}", step=name))
        return StepSpec(name=name, type="")

    def at_step(message: str, *, field: str) -> Problem:
        return Problem(message, step=name, field=field)

    values = _read_fields(data, STEP_READERS, frozenset(), at_step, problems)
    if "type" not in data and len(problems) <= MOST_PROBLEMS:
        problems.append(at_step("a type is needed, such as mail.send", field="type"))
    values["name"] = name
    values.setdefault("type", "")
    return StepSpec(**values)


def _read_fields(
    data: Mapping[Any, Any],
    readers: Mapping[str, Reader],
    ignored: Iterable[str],
    problem: Callable[..., Problem],
    problems: list[Problem],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key in readers:
            try:
                values[STEP_KEYS.get(key, key)] = readers[key](value)
            except (ValueError, TypeError) as error:
                if len(problems) <= MOST_PROBLEMS:
                    problems.append(problem(str(error), field=key))
        elif key not in ignored and len(problems) <= MOST_PROBLEMS:
            problems.append(problem(f"unknown field{_suggest(key, readers)}", field=cut(str(key))))
    return values


def _suggest(key: object, known: Iterable[str]) -> str:
    names = sorted(known)
    close = closest(str(key), names)
    return f"; did you mean {close!r}?" if close else f"; known are {', '.join(names)}"


def _complete_names(steps: list[Any]) -> list[str]:
    given = [step.get("name") if isinstance(step, Mapping) else None for step in steps]
    taken = {name for name in given if isinstance(name, str)}
    tried: dict[str, int] = {}
    names: list[str] = []
    for step, name in zip(steps, given, strict=True):
        if isinstance(name, str) and name:
            names.append(name)
            continue
        kind = step.get("type") if isinstance(step, Mapping) else None
        names.append(_free_name(kind if isinstance(kind, str) else "", taken, tried))
        taken.add(names[-1])
    return names


def _free_name(kind: str, taken: set[str], tried: dict[str, int]) -> str:
    base = re.sub(r"[^a-z0-9_]+", "_", kind[:1000].lower()).strip("_") or "step"
    base = (base if base[0].isalpha() else f"step_{base}")[:58]
    name = base
    while name in taken:
        # Counted on from where the last step of this type stopped, so that long lists cost no squares.
        tried[base] = tried.get(base, 1) + 1
        name = f"{base}_{tried[base]}"
    return name


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping is needed, not {value!r:.60}")
    return plain(value)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"text is needed, not {value!r:.60}")
    return plain_scalar(value)


def _optional_text(value: Any) -> str | None:
    # An empty text is what a form gives for a field that was left blank.
    return None if value is None else _text(value) or None


def _slug(value: Any) -> str:
    if not isinstance(value, str) or not SLUG.fullmatch(value):
        raise ValueError(f"{value!r:.120} {NO_SLUG}")
    return value


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _condition(value: Any) -> str | None:
    if isinstance(value, bool):
        return "True" if value else "False"
    return _optional_text(value)


def _duration(value: Any) -> timedelta:
    return parse_duration(value)


def _timeout(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    return value if value is DEFAULT else _positive(parse_duration(value))


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("a timeout of nothing can never be kept; write null for none")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise ValueError(f"{value!r:.60} is no whole number from 1 to 1,000,000")
    return value


def _needs(value: Any) -> Any:
    if value is None or value == JUMP:
        return value
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"a list of step names, or {JUMP}, is needed, not {value!r:.60}")
    return tuple(dict.fromkeys(value))


def _join(value: Any) -> str:
    if value not in ("all", "any"):
        raise ValueError(f"all or any is needed, not {value!r:.60}")
    return str(value)


def _retry(value: Any) -> tuple[Retry, ...] | None:
    if value is None:
        return None
    policies = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_policy(policy) for policy in policies)


def _policy(value: Any) -> Retry:
    if isinstance(value, Retry):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Retry(attempts=value)
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping such as {{attempts: 3, delay: 10s}} is needed, not {value!r:.60}")
    return retry_from_json(value)


def _on_error(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not value or not all(isinstance(part, str) for pair in value.items() for part in pair):
            raise ValueError("a mapping of error names to fail, continue or a step name is needed")
        return {plain(error): plain(action) for error, action in value.items()}
    return _text(value)


def _undo(value: Any) -> UndoSpec:
    if not isinstance(value, Mapping) or "type" not in value or not set(value) <= {"type", "with"}:
        raise ValueError(f"a mapping with type and with is needed, not {value!r:.60}")
    params = value.get("with")
    return UndoSpec(type=_text(value["type"]), params=_mapping({} if params is None else params))


def _on_failure(value: Any) -> Any:
    if value == "undo":
        return value
    if not isinstance(value, Mapping) or set(value) != {"workflow"}:
        raise ValueError("undo, or {workflow: name}, is needed")
    return {"workflow": _slug(value["workflow"])}


def _steps(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list of steps is needed")
    return list(value)


WORKFLOW_READERS: dict[str, Reader] = {
    "name": _slug,
    "description": lambda value: "" if value is None else _text(value),
    "input": _optional(_mapping),
    "queue": _optional_text,
    "timeout": _timeout,
    "on_failure": _optional(_on_failure),
    "max_visits": _optional(_whole),
    "steps": _steps,
}
STEP_READERS: dict[str, Reader] = {
    "name": _optional_text,
    "type": _text,
    "with": lambda value: _mapping({} if value is None else value),
    "if": _condition,
    "needs": _needs,
    "join": _join,
    "for_each": _optional_text,
    "max_parallel": _optional(_whole),
    "retry": _retry,
    "timeout": _timeout,
    "on_error": _on_error,
    "undo": _optional(_undo),
    "next": _optional_text,
    "delay": _optional(_duration),
    "queue": _optional_text,
}
