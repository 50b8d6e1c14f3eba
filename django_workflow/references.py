"""Model references: how a row is named in stored data, and which of its fields an expression may read."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import router
from django.db.models import CompositePrimaryKey, Field, FileField, ForeignKey, Model

from .conf import get_settings
from .exceptions import DeletedReference, NotStorable
from .spelling import closest, cut


@dataclass(frozen=True, slots=True)
class ModelReference:
    """The name of one row: ``model`` (``"shop.order"``), its key ``pk`` as JSON, and the alias ``using``.

    A key of several columns is the text of a JSON array, one of bytes is in base64.
    The row itself is read when it is first needed, and kept on this object.
    """

    model: str
    pk: str | int
    using: str = "default"
    _instance: Model | None = field(default=None, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        try:
            return f"{apps.get_model(self.model)._meta.label} {self.pk}"
        except (LookupError, ValueError):
            return f"{self.model} {self.pk}"

    @property
    def model_class(self) -> type[Model]:
        """The model. Raises ``LookupError`` when no installed app has it."""
        try:
            return apps.get_model(self.model)
        except (LookupError, ValueError) as error:
            raise LookupError(f"{self}: no installed app has the model {self.model!r}") from error

    def fetch(self) -> Model:
        """Return the row, read by the base manager.

        Raises ``DeletedReference``, or ``LookupError`` when no installed app has the model.
        """
        if self._instance is not None:
            return self._instance
        model = self.model_class
        try:
            instance = model._base_manager.using(self.using).get(pk=read_key(model, self.pk))
        except (ObjectDoesNotExist, ValueError) as error:
            raise DeletedReference(f"{self} no longer exists") from error
        object.__setattr__(self, "_instance", instance)
        return instance

    def lookup(self, name: str) -> Any:
        """Return what an expression reads under ``name``: a field's value, a foreign key's reference.

        A file field gives its name. Raises ``LookupError`` for anything hidden or not a concrete field, and
        ``DeletedReference`` when the row is gone; the key alone is known without the row.
        """
        model = self.model_class
        key = model._meta.pk
        if name == "pk" or (name in (key.name, key.attname) and not isinstance(key, ForeignKey)):
            return read_key(model, self.pk)
        found = find_field(model, name)
        if isinstance(found, ForeignKey) and name == found.name:
            return self._follow(found)
        value = getattr(self.fetch(), found.attname)
        return str(value) if isinstance(found, FileField) else value

    def _follow(self, key: ForeignKey[Any, Any]) -> ModelReference | None:
        value = getattr(self.fetch(), key.attname)
        if value is None:
            return None
        target: type[Model] = key.remote_field.model
        column = key.target_field
        using = router.db_for_write(target, instance=self.fetch())
        if column.primary_key:
            return ModelReference(target._meta.label_lower, json_key(value), using)
        row = target._base_manager.using(using).filter(**{column.attname: value}).first()
        if row is None:
            raise DeletedReference(f"{target._meta.label} with {column.attname} {value} no longer exists")
        return reference_to(row)


def reference_to(instance: Model, using: str | None = None, *, path: str = "value") -> ModelReference:
    """Return the reference to a saved ``instance`` on the alias ``using``, else the one it would be saved to.

    That is not the one it was read from where this was a replica. Raises ``NotStorable``, naming ``path``,
    for an unsaved row, an anonymous user, or a key that JSON cannot hold.
    """
    reason = why_not_referable(instance)
    if reason:
        raise NotStorable(path, reason)
    alias = using or router.db_for_write(type(instance), instance=instance)
    return ModelReference(instance._meta.label_lower, key_of(instance), alias)


def alias_of(model: str, using: str) -> str:
    """Return the alias with the rows of ``model`` (``"shop.order"``) that a run on ``using`` names by key.

    Runs may live in a database of their own: the router says where the others are. A run on another alias
    than the router would choose has its rows beside it.
    """
    try:
        found = apps.get_model(model)
    except (LookupError, ValueError):
        return using
    return router.db_for_write(found) if using == router.db_for_write(_run_model()) else using


@cache
def _run_model() -> type[Model]:
    return apps.get_model("django_workflow", "Run")


def why_not_referable(value: object) -> str:
    """Return why no reference to ``value`` can be made; an empty text when one can."""
    if not isinstance(value, Model):
        if getattr(value, "is_anonymous", False) is True:
            return "the user is anonymous and has no row: ask for a login, or leave the user out"
        return f"a {type(value).__name__} is no model instance"
    parts = value.pk if isinstance(value.pk, (tuple, list)) else (value.pk,)
    if value._state.adding or any(part is None for part in parts):
        return f"this {value._meta.label} is not saved: save it first"
    return "" if _is_read_back(value) else _WHY_UNREADABLE_KEY.format(value._meta.label, cut(repr(value.pk)))


def readable_fields(model: type[Model]) -> Mapping[str, Field[Any, Any]]:
    """Return the fields of ``model`` that expressions may read, by name and by column (``customer_id``)."""
    return _readable_fields(model, get_settings().HIDDEN_FIELDS)


def find_field(model: type[Model], name: str) -> Field[Any, Any]:
    """Return the field that expressions read under ``name``. Raises ``LookupError`` with the reason."""
    found = model._meta.pk if name == "pk" else readable_fields(model).get(name)
    if found is None:
        raise LookupError(_why_unreadable(model, name))
    return found


@lru_cache(maxsize=1024)
def _readable_fields(model: type[Model], hidden: tuple[str, ...]) -> Mapping[str, Field[Any, Any]]:
    readable: dict[str, Field[Any, Any]] = {}
    for each in model._meta.concrete_fields:
        if each.primary_key or not _is_hidden(each.name, hidden):
            readable[each.name] = readable[each.attname] = each
    return readable


def _is_hidden(name: str, hidden: tuple[str, ...]) -> bool:
    lowered = name.lower()
    return lowered == "password" or any(part.lower() in lowered for part in hidden)


def _why_unreadable(model: type[Model], name: str) -> str:
    meta = model._meta
    known = {each for field in meta.concrete_fields for each in (field.name, field.attname)}
    if name in known:
        return f"{meta.model_name}.{name} is hidden (HIDDEN_FIELDS)"
    readable = sorted(readable_fields(model))
    close = closest(name, readable)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{meta.model_name} has no readable field {cut(name)!r}; readable: {', '.join(readable)}{hint}"


def key_of(instance: Model) -> str | int:
    """Return the key of ``instance`` as JSON; its text is what ``Run.subject_id`` holds."""
    try:
        # An instance may hold another form of it, such as the text of a number.
        return json_key(read_key(instance._meta.model, instance.pk))
    except ValueError:
        return json_key(instance.pk)


def json_key(value: Any) -> str | int:
    """Return a key as JSON, from which :func:`read_key` makes it again."""
    if type(value) is int or type(value) is str:
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, (tuple, list)):
        return json.dumps([json_key(part) for part in value], ensure_ascii=False)
    if isinstance(value, (bytes, memoryview)):
        return b64encode(value).decode()
    return str.__str__(value) if isinstance(value, str) else str(value)


def read_key(model: type[Model], key: Any) -> Any:
    """Return the key of a row of ``model`` as Python has it, from JSON or its text.

    Raises ``ValueError`` for what can be no key of that model.
    """
    field = model._meta.pk
    try:
        if not isinstance(field, CompositePrimaryKey):
            return _read_part(field, key)
        parts = json.loads(key) if isinstance(key, str) else key
        if not isinstance(parts, (list, tuple)):
            raise ValueError(key)
        return tuple(_read_part(*each) for each in zip(field.fields, parts, strict=True))
    except (TypeError, OverflowError, RecursionError, ValidationError) as error:
        raise ValueError(str(error)) from error


def _read_part(field: Any, part: Any) -> Any:
    value = field.to_python(part)
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(part)
    return bytes(value) if isinstance(value, memoryview) else value


_WHY_UNREADABLE_KEY = (
    "the key of this {} cannot be read back from text, {}: let to_python() of its field read what str() of a "
    "key gives, or give values in place of the row"
)


def _is_read_back(instance: Model) -> bool:
    model = instance._meta.model
    try:
        key = read_key(model, instance.pk)
        return bool(read_key(model, json_key(key)) == key)
    except ValueError:
        return False
