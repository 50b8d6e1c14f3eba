"""Kinds of dates, times and durations."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..durations import parse_duration
from .reading import FieldOptions, Reading
from .scalars import Scalar


class Date(Scalar):
    """``date``: dates and ISO text; a datetime is refused, for it would lose its time."""

    noun = "date (2026-01-31)"
    form_field = forms.DateField
    json = {"type": "string", "format": "date"}

    def convert(self, value: Any, reading: Reading) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if not isinstance(value, str):
            raise self.refuse(value)
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            raise self.refuse(value) from None


class DateTime(Scalar):
    """``datetime``: always aware; naive ones and dates are taken to be in the current time zone."""

    noun = "date and time (2026-01-31T09:30)"
    form_field = forms.DateTimeField
    json = {"type": "string", "format": "date-time"}

    def convert(self, value: Any, reading: Reading) -> datetime:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                raise self.refuse(value) from None
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001
        if not isinstance(value, datetime):
            raise self.refuse(value)
        return timezone.make_aware(value) if timezone.is_naive(value) else value


class Time(Scalar):
    """``time``: times of day and ISO text."""

    noun = "time (09:30)"
    form_field = forms.TimeField
    json = {"type": "string", "format": "time"}

    def convert(self, value: Any, reading: Reading) -> time:
        if isinstance(value, time):
            return value
        if not isinstance(value, str):
            raise self.refuse(value)
        try:
            return time.fromisoformat(value.strip())
        except ValueError:
            raise self.refuse(value) from None


class Duration(Scalar):
    """``timedelta``: text such as ``30s``, seconds, or a ``timedelta``."""

    noun = "duration (30s, 5m, 2h, 3d or seconds)"
    json = {"type": ["string", "number"], "description": "30s, 5m, 2h, 3d or seconds"}

    def convert(self, value: Any, reading: Reading) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError:
            raise self.refuse(value) from None

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.CharField(validators=[_validate_duration], **options)


def _validate_duration(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        raise ValidationError(_("Write 30s, 5m, 2h, 3d or a number of seconds.")) from None
