"""``manage.py demo``: a person signs up, buys and pays, and every step is shown as it runs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_workflow import approve
from django_workflow.models import Run, StepRun
from django_workflow.signals import step_finished

from ... import gateway
from ...mails import link_in, mail_files, read_mails
from ...models import Contact, Order, Product
from .prepare import ADDRESS, LOGIN, MANAGER, SHELF

MARKS = {"done": "✓", "failed": "✗", "skipped": "·", "cancelled": "·"}


class Command(BaseCommand):
    """Shows the shop's workflows at work, through its real pages."""

    help = "Sign a customer up, let them buy, pay and wait, and show every step of the workflows."

    def handle(self, *args: Any, **options: Any) -> None:
        """Play the scenes, then say where to look."""
        # What is logged is shown below, in other words.
        logging.getLogger("django_workflow").setLevel(logging.CRITICAL)
        call_command("prepare", verbosity=0)
        # The same shelf each time.
        for name, (_price, stock) in SHELF.items():
            Product.objects.filter(name=name).update(stock=stock)
        mails = set(mail_files())
        self.runs: list[Run] = []
        client = Client(SERVER_NAME="127.0.0.1")
        step_finished.connect(self.show_step)
        try:
            user = self.sign_up(client)
            orders = [
                self.buy(client, "Teapot", watchers="friend@example.com"),
                self.buy(client, "Desk", quantity=2),
                self.buy(client, "Lamp"),
            ]
        finally:
            step_finished.disconnect(self.show_step)
        self.say_where(user, orders, [path for path in mail_files() if path not in mails])

    def sign_up(self, client: Client) -> User:
        """Fill the sign-up form in; saving the user starts ``welcome`` in the same transaction."""
        name = f"customer-{User.objects.filter(username__startswith='customer-').count() + 1}"
        self.title(f"{name} signs up")
        password = token_urlsafe()
        account = {"username": name, "email": f"{name}@example.com"}
        _post(client, reverse("sign_up"), {**account, "password1": password, "password2": password})
        user = User.objects.get(username=name)
        self.finish(Run.objects.get(workflow__name="welcome", key=f"signup-{user.pk}"))
        return user

    def buy(self, client: Client, name: str, *, quantity: int = 1, watchers: str = "") -> Order:
        """Press Buy; the view starts ``order-fulfilment`` in the transaction that stores the order."""
        product = Product.objects.get(name=name)
        what = f"A {name.lower()}" if quantity == 1 else f"{quantity} {name.lower()}s"
        be = "is" if quantity == 1 else "are"
        self.title(f"{what} for {product.price * quantity} {be} ordered, {product.stock} in stock")
        page = _post(
            client, reverse("buy", args=[product.pk]), {"quantity": str(quantity), "watchers": watchers}
        )
        order = Order.objects.get(pk=int(page.strip("/").rpartition("/")[2]))
        run = Run.objects.get(workflow__name="order-fulfilment", key=f"order-{order.pk}")
        self.finish(run)
        for called in Run.objects.filter(parent__run=run):
            self.finish(called)
        return order

    def finish(self, run: Run) -> None:
        """Do what the run waits for, whatever that is, until it is final."""
        self.runs.append(run)
        while not run.is_final:
            waiting = run.step_runs.filter(status="waiting").earliest("started_at")
            WAYS_ON[waiting.waiting_for](self, waiting)
            run.refresh_from_db()
        self.stdout.write(f"  {run.workflow.name} is {run.status}{f': {run.error}' if run.error else ''}")

    def wait(self, waiting: StepRun) -> None:
        """Wait for a timer, as ``manage.py workflow_clock`` does."""
        pause = (waiting.due_at or timezone.now()) - timezone.now()
        if pause > timedelta(0):
            self.stdout.write(f"  … {waiting} is tried again in {pause.total_seconds():.1f} s")
            time.sleep(pause.total_seconds())
        call_command("workflow_clock", once=True, stdout=self.stdout)

    def pay(self, waiting: StepRun) -> None:
        """Let the payment provider call the shop; the view sends the event ``paid``."""
        self.stdout.write(f"  … {waiting} waits for an event; the payment provider calls the shop")
        message = gateway.sign(str(waiting.run.key), "paid")
        _post(Client(SERVER_NAME="127.0.0.1"), reverse("payment"), {"message": message})

    def approve(self, waiting: StepRun) -> None:
        """Show the mail with the link, and answer in the manager's name."""
        *_, mail = read_mails(mail_files()[-1])
        self.stdout.write(f"  … {waiting} waits for a person: a mail is sent to {mail['To']}, with the link")
        self.stdout.write(f"    {link_in(mail)}")
        approve(waiting.run, waiting, by=User.objects.get(username=MANAGER), note="a good customer")

    def show_step(self, run: Run, step_run: StepRun, **_options: Any) -> None:
        """Print a step that has just been recorded; that of a called run further to the right."""
        took = (step_run.finished_at or timezone.now()) - (step_run.started_at or timezone.now())
        data = step_run.output or step_run.state_changes
        said = step_run.error or (
            "skipped" if step_run.status == "skipped" else json.dumps(data) if data else ""
        )
        milliseconds = max(took, timedelta(0)) / timedelta(milliseconds=1)
        margin = "  " * (run.depth + 1)
        line = f"{margin}{MARKS[step_run.status]} {step_run!s:<11} {milliseconds:5.0f} ms  {_cut(said)}"
        self.stdout.write(line.rstrip())

    def say_where(self, user: User, orders: list[Order], mails: list[Path]) -> None:
        """Print where what the workflows did can be seen."""
        self.title("Where things are")
        for mail in mails:
            self.stdout.write(f"  mail     {mail}")
        contact = Contact.objects.get(email=user.email)
        self.stdout.write(f"  contact  {ADDRESS}{reverse('admin:shop_contact_change', args=[contact.pk])}")
        for order in orders:
            page = reverse("admin:shop_order_change", args=[order.pk])
            self.stdout.write(
                f"  {order!s:<8} {ADDRESS}{page} (it is {Order.objects.get(pk=order.pk).status})"
            )
        for run in self.runs:
            page = reverse("admin:django_workflow_run_change", args=[run.pk])
            self.stdout.write(f"  run      {ADDRESS}{page} ({run.workflow.name}, {run.status})")
        self.stdout.write("")
        self.stdout.write(f"make serve opens these pages ({LOGIN}).")

    def title(self, text: str) -> None:
        """Begin a scene."""
        self.stdout.write("")
        self.stdout.write(self.style.MIGRATE_HEADING(text))


WAYS_ON: dict[str, Callable[[Command, StepRun], None]] = {
    "retry": Command.wait,
    "event": Command.pay,
    "approval": Command.approve,
}


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def _post(client: Client, page: str, fields: dict[str, str]) -> str:
    """Send a form, as a browser does; return where the answer leads."""
    answer = client.post(page, fields)
    if answer.status_code != 302:
        raise CommandError(f"{page} answered {answer.status_code}: {answer.content[:2000].decode()}")
    return str(answer["Location"])
