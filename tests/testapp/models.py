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
