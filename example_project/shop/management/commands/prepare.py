"""``manage.py prepare``: the database, something on the shelf, and a user for the admin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from ...models import Product

ADDRESS = "http://127.0.0.1:8000"
USER = PASSWORD = "demo"
LOGIN = f"user {USER}, password {PASSWORD}"
SHELF = {
    "Notebook": (Decimal("4.50"), 40),
    "Teapot": (Decimal("59.99"), 12),
    "Desk": (Decimal("640.00"), 3),
}


class Command(BaseCommand):
    """Makes what is missing, and changes nothing that is there."""

    help = "Migrate, put products on the shelf, and make the user demo for the admin."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do all three."""
        call_command("migrate", verbosity=0)
        for name, (price, stock) in SHELF.items():
            Product.objects.get_or_create(name=name, defaults={"price": price, "stock": stock})
        if not User.objects.filter(username=USER).exists():
            User.objects.create_superuser(USER, password=PASSWORD)
        if options["verbosity"] > 0:
            self.stdout.write(f"The shop is at {ADDRESS}/, the admin at {ADDRESS}/admin/ ({LOGIN}).")
            self.stdout.write(
                "Steps that wait go on while this runs: .venv/bin/python manage.py workflow_clock"
            )
