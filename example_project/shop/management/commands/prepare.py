"""``manage.py prepare``: the database, something on the shelf, a user for the admin, and a manager."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from ...models import Product

ADDRESS = settings.BASE_URL
USER = PASSWORD = "demo"
LOGIN = f"user {USER}, password {PASSWORD}"
# Who approves large orders.
MANAGER = "manager"
SHELF = {
    "Notebook": (Decimal("4.50"), 40),
    "Teapot": (Decimal("59.99"), 12),
    "Desk": (Decimal("640.00"), 6),
    "Lamp": (Decimal("25.00"), 0),
}


class Command(BaseCommand):
    """Makes what is missing, and changes nothing that is there."""

    help = "Migrate, put products on the shelf, and make the user demo for the admin, and a manager."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do all of it."""
        call_command("migrate", verbosity=0)
        for name, (price, stock) in SHELF.items():
            Product.objects.get_or_create(name=name, defaults={"price": price, "stock": stock})
        if not User.objects.filter(username=USER).exists():
            User.objects.create_superuser(USER, password=PASSWORD)
        if not User.objects.filter(username=MANAGER).exists():
            manager = User.objects.create_user(MANAGER, f"{MANAGER}@example.com", PASSWORD)
            manager.user_permissions.add(Permission.objects.get(codename="approve_order"))
        if options["verbosity"] > 0:
            self.stdout.write(f"The shop is at {ADDRESS}/, the admin at {ADDRESS}/admin/ ({LOGIN}).")
            self.stdout.write(
                "Steps that wait go on while this runs: .venv/bin/python manage.py workflow_clock"
            )
