from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """A shop as small as the tests allow."""

    name = "tests.testapp"
    label = "testapp"
    default_auto_field = "django.db.models.BigAutoField"
