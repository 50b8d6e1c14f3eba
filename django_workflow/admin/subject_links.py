"""What a run is about, as a link to that row's page; the row itself is not read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse

from ..models import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A row by its model and key; ``url`` is empty where the site has no page for it."""

    label: str
    url: str


def subject_of(site: AdminSite, run: Run) -> Subject | None:
    """Return what ``run`` is about; None where it is about nothing."""
    if not run.subject_type:
        return None
    try:
        model = apps.get_model(run.subject_type)
    except (LookupError, ValueError):
        return Subject(label=f"{run.subject_type} {run.subject_id}", url="")
    options = model._meta
    url = ""
    if site.is_registered(model):
        name = f"admin:{options.app_label}_{options.model_name}_change"
        with suppress(NoReverseMatch):
            url = reverse(name, args=[quote(run.subject_id)], current_app=site.name)
    return Subject(label=f"{options.verbose_name} {run.subject_id}", url=url)
