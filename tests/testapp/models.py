"""Rows for the tests to work on. The app has no migrations: its tables are made at once."""

from __future__ import annotations

from decimal import Decimal

from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Customer(models.Model):
    """Has fields that expressions must not read, and a file."""

    name = models.CharField(max_length=100)
    email = models.EmailField()
    password = models.CharField(max_length=128, blank=True)
    api_token = models.CharField(max_length=64, blank=True)
    photo = models.FileField(upload_to="photos", null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Has a relation of each kind, and a method and a property that expressions must not call."""

    customer = models.ForeignKey(Customer, models.CASCADE, null=True, blank=True)
    number = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal("0.00"))
    placed_at = models.DateTimeField(null=True, blank=True)
    tags = models.ManyToManyField(Tag, blank=True)

    def __str__(self) -> str:
        return self.number

    def grand_total(self) -> Decimal:
        return self.total * 2

    @property
    def label(self) -> str:
        return f"Order {self.number}"


class Note(models.Model):
    """What a handler did: a second row with the same key shows that it did it twice."""

    text = models.CharField(max_length=200)
    key = models.CharField(max_length=200, null=True, blank=True, unique=True)

    def __str__(self) -> str:
        return self.text


class Reply(models.Model):
    """Points to a note by something else than its primary key."""

    note = models.ForeignKey(Note, models.CASCADE, to_field="key")

    def __str__(self) -> str:
        return f"to {self.note_id}"


class Seat(models.Model):
    """Has a key of two columns."""

    pk = models.CompositePrimaryKey("hall", "number")
    hall = models.CharField(max_length=20)
    number = models.IntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal("0.00"))

    def __str__(self) -> str:
        return f"{self.hall} {self.number}"


class Paper(models.Model):
    """Has a key that may be longer than that of a subject."""

    title = models.CharField(max_length=300, primary_key=True)

    def __str__(self) -> str:
        return self.title


class Block(models.Model):
    """Has a key of bytes."""

    digest = models.BinaryField(primary_key=True)
    name = models.CharField(max_length=20)

    class Meta:
        # MySQL has no keys of any length.
        required_db_features = ("supports_index_on_text_field",)

    def __str__(self) -> str:
        return self.name


class Pair(tuple[str, str]):
    """A value that a field of a project makes of text: ``one-other``."""


class PairField(models.CharField):
    """Reads another text than ``str()`` of its values gives, which Django does not ask for."""

    def from_db_value(self, value: str, *_args: object) -> Pair:
        return Pair(value.split("-"))

    def to_python(self, value: object) -> object:
        return Pair(value.split("-")) if isinstance(value, str) else value

    def get_prep_value(self, value: object) -> object:
        return "-".join(value) if isinstance(value, tuple) else value


class Route(models.Model):
    """Has a key that is not read back from its text."""

    way = PairField(max_length=20, primary_key=True)

    def __str__(self) -> str:
        return "-".join(self.way)
