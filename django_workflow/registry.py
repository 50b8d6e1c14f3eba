"""Step types: ``@step`` registers a handler under a dotted name; ``get_handler`` finds it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django import forms

from .context import StepContext
from .durations import parse_duration
from .exceptions import RegistrationError
from .params import Params, Signature, read_signature
from .retry import Retry
from .spelling import closest, cut

Function = TypeVar("Function", bound=Callable[..., Any])
FormClass = type[forms.Form]

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Handler:
    """A registered step type: the function and what is said of it. The signature is read on first use."""

    type: str
    function: Callable[..., Any]
    retry: tuple[Retry, ...] = ()
    timeout: timedelta | None = None
    queue: str | None = None
    atomic: bool = False
    idempotent: bool = False
    rerun_after_crash: bool = True
    form: FormClass | None = None
    label: str = ""
    help_text: str = ""
    aliases: tuple[str, ...] = ()
    permission: str = ""
    is_async: bool = field(init=False)
    _signature: Signature | None = field(default=None, repr=False)
    _conditions: frozenset[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.is_async = inspect.iscoroutinefunction(self.function)
        self.label = self.label or self.type
        self.help_text = self.help_text or _first_line(self.function)

    @property
    def signature(self) -> Signature:
        """The handler's params and where its context goes.

        Raises ``RegistrationError`` for what cannot be read.
        """
        if self._signature is None:
            self._signature = read_signature(self.function, context_type=StepContext, form=self.form)
        return self._signature

    @property
    def params(self) -> Params:
        """The params that ``with`` may give."""
        return self.signature.params

    @property
    def condition_params(self) -> frozenset[str]:
        """The names of the params that hold a condition, which the engine evaluates before the call."""
        if self._conditions is None:
            self._conditions = frozenset(param.name for param in self.params if param.marker == "condition")
        return self._conditions


_handlers: dict[str, Handler] = {}
_aliases: dict[str, str] = {}


def step(
    type: str,
    *,
    retry: Retry | Iterable[Retry] | None = None,
    timeout: timedelta | float | str | None = None,
    queue: str | None = None,
    atomic: bool = False,
    idempotent: bool = False,
    rerun_after_crash: bool = True,
    form: type[forms.Form] | None = None,
    label: str = "",
    help_text: str = "",
    aliases: Iterable[str] = (),
    permission: str = "",
) -> Callable[[Function], Function]:
    """Register the decorated function as the handler of a step ``type``, dotted, such as ``"mail.send"``.

    What a crash may do to the step is said here: nothing said, it runs again; ``atomic``: handler and
    checkpoint share one transaction; ``idempotent``: running twice does no harm; ``rerun_after_crash=False``:
    it fails as interrupted instead. ``timeout`` is per attempt (None: the setting's), ``aliases`` are former
    names. The function is returned unchanged. Raises ``RegistrationError`` for contradictions, and where
    another function has the type.
    """

    make = partial(
        Handler,
        type=type,
        retry=_policies(retry),
        timeout=None if timeout is None else parse_duration(timeout),
        queue=queue,
        atomic=atomic,
        idempotent=idempotent,
        rerun_after_crash=rerun_after_crash,
        form=form,
        label=label,
        help_text=help_text,
        aliases=tuple(aliases),
        permission=permission,
    )
    return partial(_register, make)


def _register(make: Callable[..., Handler], function: Function) -> Function:
    _add(make(function=function))
    return function


def get_handler(type: str) -> Handler | None:
    """Return the handler registered for ``type``, or for which it is an alias.

    None where nobody registered it.
    """
    return _handlers.get(_aliases.get(type, type))


def all_handlers() -> Iterator[Handler]:
    """Yield every registered handler, by type."""
    return iter(sorted(_handlers.values(), key=lambda handler: handler.type))


def suggest_type(type: str) -> str:
    """Return what to say of an unknown type: a close one, or where types come from."""
    close = closest(type, [*_handlers, *_aliases])
    if close:
        return f"unknown step type {type!r}; did you mean {close!r}?"
    return (
        f"unknown step type {cut(type)!r}: no installed app's steps module registers it "
        "(manage.py list_step_types lists them)"
    )


def _policies(retry: Retry | Iterable[Retry] | None) -> tuple[Retry, ...]:
    return () if retry is None else (retry,) if isinstance(retry, Retry) else tuple(retry)


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _refuse_contradictions(handler: Handler) -> None:
    for name in (handler.type, *handler.aliases):
        if not _TYPE_NAME.fullmatch(name) or len(name) > 150:
            raise RegistrationError(
                f"{name!r} is no step type: lower-case words joined by dots are, such as 'mail.send'."
            )
    said = [
        name
        for name, is_said in (("atomic=True", handler.atomic), ("idempotent=True", handler.idempotent))
        if is_said
    ]
    if handler.rerun_after_crash is False:
        said.append("rerun_after_crash=False")
    if len(said) > 1:
        raise RegistrationError(
            f"{handler.type}: {' and '.join(said)} contradict each other; say one of them."
        )
    if handler.atomic and handler.is_async:
        raise RegistrationError(
            f"{handler.type}: an async handler cannot be atomic; Django's transactions are synchronous."
        )


def _add(handler: Handler) -> None:
    _refuse_contradictions(handler)
    for name in (handler.type, *handler.aliases):
        other = get_handler(name)
        if other is not None and not _is_same_function(other.function, handler.function):
            where = f"{other.function.__module__}.{other.function.__qualname__}"
            raise RegistrationError(
                f"{name!r} is registered already, by {where}; step types are unique in a project."
            )
    _handlers[handler.type] = handler
    _aliases.update(dict.fromkeys(handler.aliases, handler.type))


def _is_same_function(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    # A module that is reloaded registers its functions anew.
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
