"""The shop's step types. This module is found at start-up, like admin.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db.models import F

from django_workflow import PermanentError, Retry, StepContext, WaitForEvent, step

from . import gateway
from .models import Contact, Order, Product


class OutOfStock(PermanentError):
    """There are fewer pieces than ordered."""


@step(
    "shop.charge", retry=Retry(attempts=4, delay=timedelta(seconds=2), errors=("GatewayTimeout",)), timeout=30
)
def charge(context: StepContext, order: Order) -> dict[str, str]:
    """Ask the payment provider to charge an order's customer."""
    # The key is the same for every attempt, so that the provider charges once.
    order.charge = gateway.charge(order.total, idempotency_key=context.idempotency_key)
    order.save(update_fields=["charge"])
    return {"charge": order.charge}


@step("shop.wait_for_payment", atomic=True)
def wait_for_payment(context: StepContext, order: Order) -> WaitForEvent | None:
    """Wait until the payment provider says how it went: see views.hear_of_payment."""
    if context.event is None:
        return WaitForEvent(["paid", "declined"])
    if context.event.name == "declined":
        raise gateway.CardDeclined("the card was declined")
    Order.objects.filter(pk=order.pk).update(status=Order.Status.PAID)
    return None


@step("shop.refund", idempotent=True)
def refund(order: Order, charge: str) -> None:
    """Give back what an order's customer paid."""
    gateway.refund(charge)
    # A refused order stays refused.
    Order.objects.filter(pk=order.pk).exclude(status=Order.Status.REFUSED).update(
        status=Order.Status.REFUNDED
    )


@step("shop.reserve_stock", atomic=True)
def reserve_stock(order: Order) -> dict[str, int]:
    """Take the pieces of an order from the shelf."""
    # Atomic: the lock, the new number and the step's own record are one transaction; nothing is taken twice.
    product = Product.objects.select_for_update().get(pk=order.product_id)
    if product.stock < order.quantity:
        raise OutOfStock(f"{product.stock} pieces of {product} are left, and {order.quantity} are ordered")
    product.stock -= order.quantity
    product.save(update_fields=["stock"])
    return {"reserved": order.quantity, "left": product.stock}


@step("shop.invoice", idempotent=True)
def write_invoice(order: Order) -> str:
    """Write an order's invoice to the storage."""
    text = f"Invoice for {order}\n{order.quantity} × {order.product}\nTotal {order.total}\n"
    if order.invoice:
        order.invoice.delete(save=False)
    order.invoice.save(f"order-{order.pk}.txt", ContentFile(text.encode()), save=False)
    order.save(update_fields=["invoice"])
    return str(order.invoice)


@step("shop.watchers", idempotent=True)
def list_watchers(order: Order) -> list[str]:
    """List the addresses of all who want to know what becomes of an order."""
    return list(filter(None, dict.fromkeys([order.customer.email, *order.watchers])))


@step("shop.set_status", idempotent=True)
def set_status(order: Order, status: Annotated[Order.Status, "The new status."]) -> None:
    """Set an order's status."""
    Order.objects.filter(pk=order.pk).update(status=status)


@step("shop.sync_contact", idempotent=True)
def sync_contact(user: User) -> dict[str, int]:
    """Put a customer on the mailing list, or bring the entry up to date."""
    contact, _created = Contact.objects.update_or_create(
        email=user.email, defaults={"name": user.get_full_name() or user.username}
    )
    return {"contact": contact.pk}


@step("shop.restock", atomic=True)
def restock(product: Product, pieces: Annotated[int, "How many come at once."] = 10) -> dict[str, int]:
    """Put one delivery of a product on the shelf."""
    Product.objects.filter(pk=product.pk).update(stock=F("stock") + pieces)
    product.refresh_from_db(fields=["stock"])
    return {"stock": product.stock}
