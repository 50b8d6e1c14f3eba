"""What a form says of single values before it is called: the database is not asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from django import forms
from django.core.exceptions import ValidationError
from django.db import Error, connections

from .param import Problems


class _AsksDatabase(Exception):
    """Code of a form wants to query."""


def fill_form(form: type[forms.Form], values: Mapping[str, Any]) -> forms.Form:
    """Return the form with ``values`` as a browser would send them."""
    fields = form.base_fields
    return form({name: fields[name].prepare_value(value) for name, value in values.items()})


def clean_literals(form: type[forms.Form], values: Mapping[str, Any]) -> Problems:
    """Return what the fields of ``form`` say of ``values``; nothing of those that ask the database."""
    problems: Problems = {}
    with _no_queries():
        try:
            filled = fill_form(form, values)
        except (_AsksDatabase, Error):
            return {}
        for name in values:
            texts = _clean(filled, name)
            if texts:
                problems[name] = texts
    return problems


def _clean(form: forms.Form, name: str) -> list[str]:
    field = form.fields.get(name)
    if field is None or isinstance(field, (forms.ModelChoiceField, forms.FileField)):
        return []
    try:
        field.clean(field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name)))
    except ValidationError as error:
        return list(map(str, error.messages))
    except (_AsksDatabase, Error):
        return []
    return []


@contextmanager
def _no_queries() -> Iterator[None]:
    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(_refuse))
        yield


def _refuse(*args: object) -> NoReturn:
    raise _AsksDatabase
