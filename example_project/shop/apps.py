"""The shop as a Django app."""

from importlib import import_module

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """A small shop, to see workflows at work."""

    name = "example_project.shop"
    label = "shop"
    verbose_name = "Shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers."""
        import_module("example_project.shop.receivers")
