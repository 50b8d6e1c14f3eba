"""From a handler's signature to its params."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from types import SimpleNamespace
from typing import Any, get_type_hints

from django import forms

from ..exceptions import RegistrationError
from .annotations import help_of, kind_of
from .form_params import form_params
from .param import Param, Params

_SUPPORTED = (
    "Supported: str int float bool Decimal date datetime time timedelta UUID list dict Optional Literal Enum"
    " TypedDict Annotated, models of Django and of pydantic."
)
_WAY_OUT = "Import the name at run time (not under TYPE_CHECKING) at the top of the module."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a handler takes: ``params``, and the name of the parameter for the context, if it has one."""

    params: Params
    context_name: str | None


def read_signature(
    function: Callable[..., Any], *, context_type: type, form: type[forms.Form] | None = None
) -> Signature:
    """Return what ``function`` takes; ``context_type`` is the annotation that asks for the context.

    Raises ``RegistrationError``, naming function and parameter, for one that no definition can fill.
    """
    parameters = _parameters(function)
    hints = {} if form else _hints(function, parameters, context_type)
    context_name = _context_name(function, parameters, hints, context_type)
    listed = [each for each in parameters if each.kind is not Parameter.VAR_KEYWORD]
    named = [each for each in listed if each.name != context_name]
    extra = len(listed) < len(parameters)
    if form:
        return Signature(params=_form_params(function, form, named, extra), context_name=context_name)
    items = tuple(_param(function, each, hints[each.name]) for each in named)
    _refuse_twins(function, items)
    taken = frozenset({each.name for each in listed} - {each.name for each in items})
    return Signature(params=Params(items=items, extra=extra, taken=taken), context_name=context_name)


def public_name(python_name: str) -> str:
    """Return the name definitions use: ``if_`` is the param ``if``."""
    return python_name.removesuffix("_") or python_name


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except NameError as error:  # Python 3.14 evaluates annotations here
        reason = f"an annotation cannot be resolved: {error}. {_WAY_OUT}"
        raise RegistrationError(f"{_name(function)}: {reason}") from error
    for each in parameters:
        if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL):
            sort = "positional-only" if each.kind is Parameter.POSITIONAL_ONLY else "*"
            raise RegistrationError(
                f"{_name(function)}: the {sort} parameter {each.name!r} cannot be filled: params go by name"
            )
    return parameters


def _hints(function: Callable[..., Any], parameters: list[Parameter], context_type: type) -> dict[str, Any]:
    module_names = getattr(inspect.unwrap(function), "__globals__", {})
    hints = {}
    for each in parameters:
        if each.kind is Parameter.VAR_KEYWORD:
            continue
        try:
            stand_in = SimpleNamespace(__annotations__={each.name: each.annotation})
            hints[each.name] = get_type_hints(stand_in, globalns=module_names, include_extras=True)[each.name]
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            hints[each.name] = _unresolved(function, each, context_type, error)
    return hints


def _unresolved(
    function: Callable[..., Any], parameter: Parameter, context_type: type, error: Exception
) -> type | None:
    text = str(parameter.annotation)
    if parameter.name == "context" or text.rpartition(".")[2] == context_type.__name__:
        return context_type
    raise RegistrationError(
        f"{_name(function)}: the annotation {text!r} of the parameter {parameter.name!r}"
        f" cannot be resolved: {error}. {_WAY_OUT}"
    ) from error


def _context_name(
    function: Callable[..., Any], parameters: list[Parameter], hints: dict[str, Any], context_type: type
) -> str | None:
    annotated = [each.name for each in parameters if _asks_for(each, hints, context_type)]
    if len(annotated) > 1:
        names = ", ".join(annotated)
        raise RegistrationError(f"{_name(function)}: several parameters ask for the context: {names}")
    if annotated:
        return annotated[0]
    return next((each.name for each in parameters if each.name == "context"), None)


def _asks_for(parameter: Parameter, hints: dict[str, Any], context_type: type) -> bool:
    annotation = hints.get(parameter.name, parameter.annotation)
    named = isinstance(annotation, str) and annotation.rpartition(".")[2] == context_type.__name__
    return annotation is context_type or named


def _param(function: Callable[..., Any], parameter: Parameter, hint: Any) -> Param:
    try:
        kind = kind_of(hint)
    except TypeError as error:
        raise RegistrationError(
            f"{_name(function)}: the parameter {parameter.name!r}: {error}. {_SUPPORTED}"
        ) from error
    required = parameter.default is Parameter.empty
    return Param(
        name=public_name(parameter.name),
        python_name=parameter.name,
        kind=kind,
        required=required,
        default=None if required else parameter.default,
        fills=kind.marker == "secret",
        help=help_of(hint),
    )


def _refuse_twins(function: Callable[..., Any], items: tuple[Param, ...]) -> None:
    names = [each.name for each in items]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        both = f"{twins[0]!r} and '{twins[0]}_'"
        raise RegistrationError(f"{_name(function)}: {both} are one param: rename one")


def _form_params(
    function: Callable[..., Any], form: type[forms.Form], named: list[Parameter], extra: bool
) -> Params:
    python_names = {public_name(each.name): each.name for each in named}
    missing = [] if extra else sorted(form.base_fields.keys() - python_names.keys())
    if missing:
        raise RegistrationError(f"{_name(function)}: no parameter for the form's fields {', '.join(missing)}")
    unfilled = [each.name for each in named if each.default is Parameter.empty]
    unfilled = [name for name in unfilled if public_name(name) not in form.base_fields]
    if unfilled:
        raise RegistrationError(f"{_name(function)}: {form.__name__} has no field for {', '.join(unfilled)}")
    return form_params(form, python_names=python_names)


def _name(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", "")
    return f"{module}.{getattr(function, '__qualname__', repr(function))}"
