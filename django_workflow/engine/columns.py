"""The columns of runs and step runs, as plain SQL wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, JSONField

from ..models import Run, StepRun

Model = type[Run] | type[StepRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its name and type in SQL, and the field and the attribute of a row that it belongs to."""

    sql: str
    type: str
    attribute: str
    field: Field[Any, Any]
    is_json: bool

    def prepare(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return what the database's driver is given for ``value``, the same as the ORM gives it."""
        if value is None:
            return None
        if not self.is_json and isinstance(value, str | int):
            # Most values: they need no preparation; a status need not be known as one by the driver.
            return str(value) if isinstance(value, str) else value
        return self.field.get_db_prep_save(value, connection)


@cache
def columns_of(using: str, model: Model) -> Mapping[str, Column]:
    """Return the columns of a model on a database, by the name of the field."""
    connection = connections[using]
    columns = {
        field.name: Column(
            sql=connection.ops.quote_name(field.column or ""),
            # Without its length: a cast to varchar(10) would cut what is longer, instead of refusing it.
            type=(field.db_type(connection) or "").partition("(")[0],
            attribute=field.attname,
            field=field,
            is_json=isinstance(field, JSONField),
        )
        for field in model._meta.concrete_fields
    }
    return MappingProxyType(columns)


@cache
def table_of(using: str, model: Model) -> str:
    """Return the table of a model, quoted."""
    return connections[using].ops.quote_name(model._meta.db_table)


def by_field(model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by the names of their fields: for a key to another row attributes have another name."""
    names = _fields_of(model)
    return {names[name]: value for name, value in values.items()}


@cache
def _fields_of(model: Model) -> Mapping[str, str]:
    fields = model._meta.concrete_fields
    return MappingProxyType(
        {each.attname: each.name for each in fields} | {each.name: each.name for each in fields}
    )
