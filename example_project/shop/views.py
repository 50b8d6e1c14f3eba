"""The shop's pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from django_workflow import trigger
from django_workflow.models import Run

from .models import Order, Product


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name, a password and an address for mails."""

    email = forms.EmailField()

    class Meta:
        model = User
        fields = ("username", "email")


class OrderForm(forms.Form):
    """How many pieces."""

    quantity = forms.IntegerField(min_value=1, max_value=1000)


def list_products(request: HttpRequest) -> HttpResponse:
    """Show what there is to buy."""
    return render(request, "shop/products.html", {"products": Product.objects.order_by("name")})


@transaction.atomic
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account. Saving it starts ``welcome``, in this transaction: see receivers.py."""
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        login(request, form.save())
        return redirect("products")
    return render(request, "shop/sign_up.html", {"form": form})


@require_POST
@login_required
@transaction.atomic
def buy(request: HttpRequest, pk: int) -> HttpResponse:
    """Place an order and start its fulfilment: both are stored, or neither."""
    assert isinstance(request.user, User)
    product = get_object_or_404(Product, pk=pk)
    form = OrderForm(request.POST)
    if not form.is_valid():
        return redirect("products")
    quantity = form.cleaned_data["quantity"]
    order = Order.objects.create(
        customer=request.user, product=product, quantity=quantity, total=product.price * quantity
    )
    trigger("order-fulfilment", {"order": order}, key=f"order-{order.pk}", subject=order)
    return redirect("order", pk=order.pk)


@login_required
def show_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an order, and what was done for it."""
    order = get_object_or_404(Order, pk=pk, customer=request.user)
    run = Run.objects.filter(workflow__name="order-fulfilment", key=f"order-{order.pk}").first()
    context: dict[str, Any] = {"order": order, "run": run}
    return render(request, "shop/order.html", context)
