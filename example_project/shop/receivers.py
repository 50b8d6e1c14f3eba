"""What starts workflows by itself."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from django_workflow import trigger


@receiver(post_save, sender=User)
def welcome_new_user(instance: User, created: bool, raw: bool, **_options: Any) -> None:
    """Start ``welcome`` in the transaction that saves the user: both are stored, or neither."""
    if created and not raw:  # raw: a fixture is being loaded
        trigger("welcome", {"user": instance}, key=f"signup-{instance.pk}", subject=instance)
