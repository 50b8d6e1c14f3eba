"""Params declared by a form: ``@step(form=SomeForm)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django import forms

from ..codec import load
from ..exceptions import ParamsError
from .field_schema import field_schema
from .hidden import without_hidden
from .literals import clean_literals, fill_form
from .outside import has_unknown
from .param import Param, Params, Problems
from .reading import FieldOptions, JsonSchema, Kind, NamedRow, Reading


@dataclass(frozen=True, slots=True)
class FormField(Kind):
    """One field of a form. The form as a whole cleans it, so here it is only described."""

    declared: forms.Field

    def rows(self, value: Any) -> Iterator[NamedRow]:
        if isinstance(self.declared, forms.ModelChoiceField) and self.declared.queryset is not None:
            model, column = self.declared.queryset.model, self.declared.to_field_name or "pk"
            is_many = isinstance(self.declared, forms.ModelMultipleChoiceField)
            for each in value if is_many and isinstance(value, (list, tuple)) else (value,):
                yield NamedRow(model=model, value=each, column=column)

    def convert(self, value: Any, reading: Reading) -> Any:
        return value

    def field(self, options: FieldOptions) -> forms.Field:
        return deepcopy(self.declared)

    def schema(self) -> JsonSchema:
        title = {"title": str(self.declared.label)} if self.declared.label else {}
        return {**title, **field_schema(self.declared)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormParams(Params):
    """The fields of ``form``; at the call the form cleans the values and ``cleaned_data`` is given."""

    form: type[forms.Form]

    def check(self, values: Mapping[str, Any], *, is_expression: Callable[[Any], bool]) -> Problems:
        """Return the unknown and missing names, and what each field says of its value.

        What the database has to be asked for is said at the call, as is what the whole form says.
        """
        problems = self.misnamed(values)
        literal = {
            name: value
            for name, value in values.items()
            if name in self.by_name and not has_unknown(value, Reading(is_expression=is_expression))
        }
        for name, texts in clean_literals(self.form, literal).items():
            problems.setdefault(name, []).extend(without_hidden(name, values[name], texts))
        return problems

    def convert(self, values: Mapping[str, Any], *, what: str, using: str) -> dict[str, Any]:
        """Return the form's ``cleaned_data`` by Python name. Raises ``ParamsError`` with its errors."""
        problems = self.misnamed(values)
        if problems:
            raise ParamsError(what, problems)
        given = {param.name: param.initial for param in self.items if param.initial is not None}
        given.update(load(dict(values)))
        form = fill_form(self.form, given)
        if not form.is_valid():
            raise ParamsError(
                what,
                {
                    name: without_hidden(name, given.get(name), map(str, texts))
                    for name, texts in form.errors.items()
                },
            )
        names = {param.name: param.python_name for param in self.items}
        return {names.get(name, name): value for name, value in form.cleaned_data.items()}

    def form_class(self) -> type[forms.Form]:
        """Return the form itself."""
        return self.form


def form_params(form: type[forms.Form], *, python_names: Mapping[str, str]) -> FormParams:
    """Return the params of ``form``; ``python_names`` maps its fields' names to the handler's."""
    items = tuple(
        Param(
            name=name,
            python_name=python_names.get(name, name),
            kind=FormField(declared),
            required=declared.required and declared.initial is None,
            default=None if callable(declared.initial) else declared.initial,
            help=str(declared.help_text),
            initial=declared.initial() if callable(declared.initial) else declared.initial,
        )
        for name, declared in form.base_fields.items()
    )
    return FormParams(items=items, form=form)
