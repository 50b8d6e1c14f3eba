"""Rows that a person names by their key in JSON: each has to be one that they may view on this site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from ..definition.expressions import has_expression, parse_template
from ..definition.spec import CALL
from ..engine.programs import get_program
from ..exceptions import ExpressionError, ParamsError, RegistrationError
from ..models import Step, Workflow
from ..params import Params, declared_params
from ..params.reading import NamedRow, shown
from ..references import read_key
from ..registry import get_handler
from .picking import viewable_rows

APPROVAL = "flow.approval"
# Of one model.
MOST_TOLD = 100
Named = Iterable[tuple[str, NamedRow]]


def refuse_unseen(named: Named, site: AdminSite, request: HttpRequest) -> Iterator[str]:
    """Yield a problem for each row that is not there, or that the user may not view: both read alike."""
    asked: dict[tuple[type[Model], str], dict[Any, str]] = defaultdict(dict)
    for name, row in named:
        value = _constant(row.value)
        try:
            asked[row.model, row.column][_python_key(row, value)] = f"{name}: {shown(value)}"
        except (TypeError, ValueError, OverflowError, ValidationError):
            continue  # It is no key, so no row is read by it.
    for (model, column), keys in asked.items():
        rows = None if keys.keys() == {None} else viewable_rows(model, site, request)
        found = () if rows is None else rows.filter(**{f"{column}__in": list(keys)})
        seen = {None, *(getattr(row, column) for row in found)}
        for text in [text for key, text in keys.items() if key not in seen][:MOST_TOLD]:
            yield _("%(key)s is no %(model)s that you may view.") % {
                "key": text,
                "model": model._meta.verbose_name,
            }


def rows_of_declaration(declared: Any) -> Iterator[tuple[str, NamedRow]]:
    """Yield the rows that a declared input, or the form of an approval, begins with or falls back on."""
    for name, about in declared.items() if isinstance(declared, Mapping) else ():
        try:
            params = declared_params({name: about})
        except ParamsError:
            continue  # Publishing says what is wrong with it, and nothing is read by it before.
        for param in params:
            for value in (param.default, param.initial):
                yield from params.rows({name: value})


def rows_of_step(step: Step, using: str) -> Iterator[tuple[str, NamedRow]]:
    """Yield the rows that the params of a step name."""
    handler, given = get_handler(step.type), step.params
    if handler is None or not isinstance(given, Mapping):
        return
    try:
        yield from handler.params.rows(given)
    except RegistrationError:
        return  # Nothing can be called with them.
    if handler.type == APPROVAL:
        yield from rows_of_declaration(given.get("form"))
    elif handler.type == CALL and isinstance(given.get("input"), Mapping):
        yield from _declared_by(given.get("workflow"), using).rows(given["input"])


def _declared_by(name: Any, using: str) -> Params:
    """Return what the published workflow declares as its input; nothing where it declares none."""
    named = _constant(name)
    found = Workflow.objects.using(using).filter(name=named) if isinstance(named, str) else ()
    for workflow in found:
        if workflow.published_id is not None:
            return declared_params(get_program(workflow.published_id, using).spec.input or {})
    return Params()


def _constant(value: Any) -> Any:
    """Return what ``value`` is whatever the run holds; None for what only the run can tell."""
    if not has_expression(value):
        return value
    try:
        template = parse_template(value)
        return None if template.references else template.render({})
    except ExpressionError:
        return None


def _python_key(row: NamedRow, value: Any) -> Any:
    if value is None:
        return None
    if row.column == "pk":
        return read_key(row.model, value)
    return row.model._meta.get_field(row.column).to_python(value)  # type: ignore[union-attr]
