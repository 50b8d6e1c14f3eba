"""The shop's rows. None of them knows of workflows."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models


class Product(models.Model):
    """Something on the shelf."""

    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What a customer buys: some pieces of one product."""

    class Status(models.TextChoices):
        """Where an order stands."""

        PLACED = "placed"
        PAID = "paid"
        FULFILLED = "fulfilled"
        REFUSED = "refused"
        REFUNDED = "refunded"

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="orders")
    product = models.ForeignKey(Product, models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    watchers = models.JSONField(default=list, blank=True, help_text="Addresses of others to be told.")
    charge = models.CharField(max_length=64, blank=True)
    invoice = models.FileField(upload_to="invoices", blank=True)
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        permissions = [("approve_order", "Can approve a large order")]

    def __str__(self) -> str:
        return f"order {self.pk}"


class Contact(models.Model):
    """Somebody on the shop's mailing list."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    synced_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.email
