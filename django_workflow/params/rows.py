"""The kind of a model: a row, fetched from its reference or its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.functional import LazyObject

from ..exceptions import DeletedReference
from ..references import ModelReference, alias_of
from ..storable import is_storable_text
from .reading import FieldOptions, JsonSchema, Kind, Misfit, Reading, shown


@dataclass(frozen=True, slots=True)
class Row(Kind):
    """A model class: an instance, a reference, or a key of that model."""

    model: type[Model]

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
        if isinstance(instance, self.model):
            return instance
        raise Misfit(f"a {instance._meta.label} is no {self._label}")

    def _named(self, key: Any, using: str | None) -> ModelReference:
        if isinstance(key, bool) or not isinstance(key, (str, int, UUID)) or not is_storable_text(str(key)):
            raise Misfit(f"{shown(key)} is no {self._label}: give a row or its key")
        try:
            parsed = self.model._meta.pk.to_python(key)
        except (ValidationError, ValueError, OverflowError):
            raise Misfit(f"{shown(key)} is no key of a {self._label}") from None
        plain = parsed if isinstance(parsed, int) else str(key)
        label = self.model._meta.label_lower
        return ModelReference(label, plain, alias_of(label, using or "default"))

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
        return forms.ModelChoiceField(queryset=self.model._default_manager.all(), **options)

    def schema(self) -> JsonSchema:
        return {"type": ["integer", "string"], "description": f"the key of a {self._label}"}
