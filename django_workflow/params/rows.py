"""The kind of a model: a row, fetched from its reference or its key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard
from uuid import UUID

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import CompositePrimaryKey, Field, ForeignKey, Model
from django.utils.functional import LazyObject

from ..exceptions import DeletedReference
from ..references import (
    ModelReference,
    alias_of,
    find_field,
    json_key,
    key_of,
    read_key,
    readable_fields,
)
from ..storable import is_storable_text
from .moments import Date, DateTime, Duration, Time
from .reading import FieldOptions, JsonSchema, Kind, Misfit, NamedRow, Reading, shown
from .scalars import Exact, Float, Identifier, Text, Truth, Whole


@dataclass(frozen=True, slots=True)
class Row(Kind):
    """A model class: an instance, a reference, or a key of that model."""

    model: type[Model]

    def rows(self, value: Any) -> Iterator[NamedRow]:
        yield NamedRow(model=self.model, value=value)

    def convert(self, value: Any, reading: Reading) -> Any:
        if isinstance(value, Model):
            return self._own(value)
        if isinstance(value, LazyObject):
            raise Misfit(f"the user is anonymous, and no {self._label}")
        reference = value if isinstance(value, ModelReference) else self._named(value, reading.using)
        if reading.using is None:
            return value
        return self._fetch(reference)

    @property
    def _label(self) -> str:
        return self.model._meta.label

    def _own(self, instance: Model) -> Model:
        # One row may come as an instance of several classes: of a proxy and its base, of a migration's model.
        own = {kind._meta.label_lower for kind in (self.model, self.model._meta.concrete_model) if kind}
        if any(kind._meta.label_lower in own for kind in type(instance).__mro__ if _has_rows(kind)):
            return instance
        raise Misfit(f"a {instance._meta.label} is no {self._label}")

    def _named(self, key: Any, using: str | None) -> ModelReference:
        if not all(map(_may_be_key, key if self._is_of_parts(key) else [key])):
            raise Misfit(f"{shown(key)} is no {self._label}: give a row or its key")
        try:
            plain = json_key(read_key(self.model, key))
        except ValueError:
            raise Misfit(f"{shown(key)} is no key of a {self._label}") from None
        label = self.model._meta.label_lower
        return ModelReference(label, plain, alias_of(label, using or "default"))

    def _is_of_parts(self, key: Any) -> bool:
        return isinstance(self.model._meta.pk, CompositePrimaryKey) and isinstance(key, (list, tuple))

    def _fetch(self, reference: ModelReference) -> Model:
        try:
            named = reference.model_class
            if issubclass(named, self.model):
                return reference.fetch()
            if named._meta.concrete_model is self.model._meta.concrete_model:
                return ModelReference(self.model._meta.label_lower, reference.pk, reference.using).fetch()
        except (DeletedReference, LookupError) as error:
            raise Misfit(str(error)) from error
        raise Misfit(f"{reference} is no {self._label}")

    def field(self, options: FieldOptions) -> forms.Field:
        return RowField(queryset=self.model._default_manager.all(), **options)

    def schema(self) -> JsonSchema:
        is_of_parts = isinstance(self.model._meta.pk, CompositePrimaryKey)
        types = ["array", "string"] if is_of_parts else ["integer", "string"]
        return {"type": types, "description": f"the key of a {self._label}"}

    def look_up(self, name: str) -> Kind | None:
        try:
            found = find_field(self.model, name)
        except LookupError:
            # The row may be one of a model that inherits from this one.
            heirs = (each for each in apps.get_models() if issubclass(each, self.model))
            if any(name in readable_fields(each) for each in heirs):
                return None
            raise
        if isinstance(found, ForeignKey) and name == found.name:
            return Row(found.remote_field.model)
        return _kind_of_column(found)


class RowField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Picks a row, whatever its key is made of: the form shows and sends the key as JSON has it."""

    def prepare_value(self, value: Any) -> Any:
        """Return the key of a row; what was sent stays as it is."""
        return key_of(value) if isinstance(value, Model) else super().prepare_value(value)

    def to_python(self, value: Any) -> Model | None:
        """Return the row. Raises ``ValidationError``."""
        if isinstance(value, Model) or value in self.empty_values:
            return super().to_python(value)
        assert self.queryset is not None
        try:
            key = read_key(self.queryset.model, value)
        except ValueError:
            raise ValidationError(
                self.error_messages["invalid_choice"], code="invalid_choice", params={"value": value}
            ) from None
        return super().to_python(key)


def _may_be_key(value: Any) -> bool:
    return (
        isinstance(value, (str, int, UUID)) and not isinstance(value, bool) and is_storable_text(str(value))
    )


def _has_rows(kind: type) -> TypeGuard[type[Model]]:
    return issubclass(kind, Model) and hasattr(kind, "_meta") and not kind._meta.abstract


def _kind_of_column(field: Field[Any, Any]) -> Kind | None:
    if isinstance(field, ForeignKey):
        return _kind_of_column(field.target_field)
    # A field of somebody else's may give anything, whatever it inherits from.
    if not type(field).__module__.startswith("django.db.models."):
        return None
    return next((kind for kinds, kind in _COLUMNS if isinstance(field, kinds)), None)


_COLUMNS: tuple[tuple[type[Any] | tuple[type[Any], ...], Kind], ...] = (
    (models.BooleanField, Truth()),
    (models.IntegerField, Whole()),
    (models.FloatField, Float()),
    (models.DecimalField, Exact()),
    (models.DateTimeField, DateTime()),
    (models.DateField, Date()),
    (models.TimeField, Time()),
    (models.DurationField, Duration()),
    (models.UUIDField, Identifier()),
    ((models.CharField, models.TextField, models.FileField), Text()),
)
