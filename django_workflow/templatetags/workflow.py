"""``{% load workflow %}``: the tags of the admin's pages.

Django imports the tag libraries of all apps for any template, so this one is empty where the admin is not
installed.
"""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.template import Library

register = Library()
if apps.is_installed("django.contrib.admin"):
    register = import_module("django_workflow.admin.tags").register
