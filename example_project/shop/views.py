"""The shop's pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.core.signing import BadSignature
from django.core.validators import validate_email
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_workflow import send_event, trigger
from django_workflow.models import Run

from . import gateway
from .mails import mail_files, read_mails, text_of
from .models import Order, Product

SHOWN_MAILS = 20


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name, a password and an address for mails."""

    email = forms.EmailField()

    class Meta:
        model = User
        fields = ("username", "email")


class OrderForm(forms.Form):
    """How many pieces, and who shall be told when they are on their way."""

    quantity = forms.IntegerField(min_value=1, max_value=1000)
    watchers = forms.CharField(required=False, max_length=1000)

    def clean_watchers(self) -> list[str]:
        """Return the addresses, each once."""
        addresses = list(dict.fromkeys(self.cleaned_data["watchers"].replace(",", " ").split()))
        for address in addresses:
            validate_email(address)
        return addresses


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
        customer=request.user,
        product=product,
        quantity=quantity,
        total=product.price * quantity,
        watchers=form.cleaned_data["watchers"],
    )
    trigger("order-fulfilment", {"order": order}, key=f"order-{order.pk}", subject=order, user=request.user)
    return redirect("order", pk=order.pk)


@login_required
def show_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an order, what was done for it, and what it waits for."""
    order = get_object_or_404(Order, pk=pk, customer=request.user)
    run = Run.objects.filter(workflow__name="order-fulfilment", key=f"order-{order.pk}").first()
    steps = [] if run is None else list(run.step_runs.order_by("number", "started_at"))
    context: dict[str, Any] = {
        "order": order,
        "run": run,
        "steps": steps,
        "awaited": {each.waiting_for for each in steps},
        # What the pretended provider says when a button is pressed.
        "messages_of_provider": {
            "Pay": gateway.sign(f"order-{order.pk}", "paid"),
            "Use a card that is declined": gateway.sign(f"order-{order.pk}", "declined"),
        },
    }
    return render(request, "shop/order.html", context)


@csrf_exempt
@require_POST
def hear_of_payment(request: HttpRequest) -> HttpResponse:
    """Take the payment provider's message, and pass it on to the run of the order, as an event."""
    try:
        message = gateway.read(request.POST.get("message", ""))
    except BadSignature:
        return HttpResponseBadRequest("This is not from the payment provider.")
    # The id: providers repeat themselves, and an event with the same id counts once.
    key = message["reference"]
    send_event(("order-fulfilment", key), message["verdict"], {"message": message["id"]}, id=message["id"])
    return redirect("order", pk=int(key.removeprefix("order-")))


def list_mails(request: HttpRequest) -> HttpResponse:
    """Show the last mails, with their links: only an example may do so."""
    files = mail_files()[-SHOWN_MAILS:]
    mails = [(mail, text_of(mail)) for path in reversed(files) for mail in read_mails(path)]
    return render(request, "shop/mails.html", {"mails": mails})
