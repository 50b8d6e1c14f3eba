"""The settings: read as they are now, however they were changed."""

from __future__ import annotations

from typing import Any

from django.test import override_settings

from django_workflow.conf import get_settings


def test_a_setting_that_is_changed_in_place_is_seen(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"MAX_CRASHES": 2, "HIDDEN_FIELDS": ["iban"], "SECRETS": {}}
    assert (get_settings().MAX_CRASHES, get_settings().HIDDEN_FIELDS) == (2, ("iban",))
    settings.DJANGO_WORKFLOW["MAX_CRASHES"] = 5
    settings.DJANGO_WORKFLOW["HIDDEN_FIELDS"].append("salary")
    settings.DJANGO_WORKFLOW["SECRETS"]["bank"] = "sk"
    settings.DJANGO_WORKFLOW["LEASE"] = "90s"
    found = get_settings()
    assert (found.MAX_CRASHES, found.HIDDEN_FIELDS) == (5, ("iban", "salary"))
    assert found.SECRETS == {"bank": "sk"}
    assert found.LEASE.total_seconds() == 90


def test_a_queue_that_is_changed_in_place_is_seen(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {}
    settings.RQ_QUEUES = {"default": {"URL": "redis://"}}
    assert get_settings().QUEUE == "default"
    settings.RQ_QUEUES["default"]["ASYNC"] = False
    assert get_settings().QUEUE is None


def test_settings_are_as_before_after_they_were_overridden(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"MAX_CRASHES": 2}
    with override_settings(DJANGO_WORKFLOW={"MAX_CRASHES": 4}):
        assert get_settings().MAX_CRASHES == 4
        settings.DJANGO_WORKFLOW["MAX_CRASHES"] = 6
        assert get_settings().MAX_CRASHES == 6
    assert get_settings().MAX_CRASHES == 2


def test_settings_that_did_not_change_are_read_once(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"MAX_CRASHES": 2}
    assert get_settings() is get_settings()
