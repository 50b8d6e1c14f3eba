"""How a project tests its workflows: steps run inline, once the transaction has committed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase, override_settings
from django.urls import reverse
from django.utils import timezone

from django_workflow import retry_run, trigger
from django_workflow.models import Run

from .models import Contact, Order, Product

ACCOUNT = {"username": "customer", "email": "customer@example.com"}
SECRETS = {"password1": "not-a-real-one", "password2": "not-a-real-one"}


class ShopTestCase(TestCase):
    """A shop whose files are thrown away."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        files = override_settings(
            MEDIA_ROOT=Path(folder.name) / "media", GATEWAY_FOLDER=Path(folder.name) / "gateway"
        )
        files.enable()
        self.addCleanup(files.disable)

    def sign_up(self) -> User:
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(reverse("sign_up"), {**ACCOUNT, **SECRETS})
        return User.objects.get(username="customer")

    def buy(self, price: str, *, quantity: int = 1, stock: int = 5) -> Run:
        """Buy as a new customer, and return the run of the order."""
        self.sign_up()
        mail.outbox.clear()
        self.product = Product.objects.create(name="Teapot", price=price, stock=stock)
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(reverse("buy", args=[self.product.pk]), {"quantity": quantity})
        self.order = Order.objects.get()
        return Run.objects.get(key=f"order-{self.order.pk}")

    def go_on(self, run: Run) -> None:
        """Let the clock do what the run waits for, without waiting."""
        run.step_runs.live().update(due_at=timezone.now())
        with self.captureOnCommitCallbacks(execute=True):
            call_command("workflow_clock", once=True)
        run.refresh_from_db()

    def reload(self) -> None:
        self.order.refresh_from_db()
        self.product.refresh_from_db()


class WelcomeTest(ShopTestCase):
    def test_a_new_customer_gets_a_mail_and_is_on_the_list(self) -> None:
        user = self.sign_up()
        run = Run.objects.get(workflow__name="welcome")
        assert (run.status, run.subject) == ("done", user)
        assert [message.to for message in mail.outbox] == [["customer@example.com"]]
        assert mail.outbox[0].subject == "Welcome, customer!"
        assert Contact.objects.get().email == "customer@example.com"

    def test_a_sign_up_that_is_rolled_back_leaves_nothing(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            User.objects.create_user("customer", "customer@example.com")
            transaction.set_rollback(True)
        assert not Run.objects.exists()
        assert mail.outbox == []

    def test_nobody_is_welcomed_twice_or_by_a_fixture(self) -> None:
        user = self.sign_up()
        user.first_name = "New"
        user.save()
        User(username="loaded", email="loaded@example.com").save_base(raw=True)
        assert Run.objects.count() == 1

    def test_without_an_address_there_is_nothing_to_do(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            User.objects.create_user("clerk")
        assert Run.objects.get().status == "done"
        assert not Contact.objects.exists()


class OrderTest(ShopTestCase):
    def path(self, run: Run) -> set[str]:
        return set(run.step_runs.filter(status="done").values_list("step", flat=True))

    def test_an_order_is_paid_reserved_invoiced_and_shipped(self) -> None:
        run = self.buy("20.00", quantity=2)
        self.reload()
        assert (run.status, self.order.status, self.product.stock) == ("done", "fulfilled", 3)
        assert "Total 40.00" in self.order.invoice.open("r").read()
        assert "gift" not in mail.outbox[0].body

    def test_a_large_order_comes_with_a_gift(self) -> None:
        self.buy("50.00")
        assert "with a mug as a gift" in mail.outbox[0].body

    def test_a_charge_that_timed_out_is_tried_again(self) -> None:
        run = self.buy("19.99")
        assert (run.status, self.path(run)) == ("waiting", set())
        self.go_on(run)
        self.reload()
        assert (run.status, self.order.status) == ("done", "fulfilled")
        assert run.step_runs.filter(step="charge").count() == 2

    def test_a_declined_card_ends_in_a_mail_and_a_failed_run(self) -> None:
        run = self.buy("640.00")
        self.reload()
        assert (run.status, run.error) == ("failed", "the card is not good for 640.00")
        assert (self.order.status, self.product.stock) == ("refused", 5)
        assert self.path(run) == {"refuse", "regret"}
        assert "nothing is sent" in mail.outbox[0].body

    def test_a_run_goes_on_where_it_failed(self) -> None:
        run = self.buy("10.00", quantity=7)
        assert (run.status, run.step) == ("failed", "reserve")
        Product.objects.update(stock=10)
        with self.captureOnCommitCallbacks(execute=True):
            retry_run(run)
        run.refresh_from_db()
        self.reload()
        assert (run.status, self.order.status, self.product.stock) == ("done", "fulfilled", 3)
        assert run.step_runs.filter(step="charge").count() == 1

    def test_only_the_customer_sees_an_order(self) -> None:
        self.buy("10.00")
        page = reverse("order", args=[self.order.pk])
        self.assertContains(self.client.get(page), "Fulfilled")
        self.client.force_login(User.objects.create_user("somebody"))
        assert self.client.get(page).status_code == 404


class RestockTest(ShopTestCase):
    def test_deliveries_come_until_there_are_enough(self) -> None:
        product = Product.objects.create(name="Notebook", price="4.50", stock=3)
        values: dict[str, Any] = {"product": product}
        with self.captureOnCommitCallbacks(execute=True):
            run = trigger("restock", values)
        run.refresh_from_db()
        product.refresh_from_db()
        assert (run.status, product.stock) == ("done", 33)
        assert run.step_runs.filter(step="deliver").count() == 3


class PageTest(ShopTestCase):
    def test_every_page_answers(self) -> None:
        Product.objects.create(name="Notebook", price="4.50", stock=3)
        for name in ("products", "sign_up", "login"):
            assert self.client.get(reverse(name)).status_code == 200
