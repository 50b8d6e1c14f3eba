"""How a project tests its workflows: steps run inline, and the test's own clock moves."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.db import transaction
from django.test import TestCase, override_settings
from django.urls import reverse

from django_workflow import NotAllowed, restart_run, undo_run
from django_workflow.models import Run, StepRun
from django_workflow.test import Kit, workflow_test

from . import gateway
from .models import Contact, Order, Product

ACCOUNT = {"username": "customer", "email": "customer@example.com"}
SECRETS = {"password1": "not-a-real-one", "password2": "not-a-real-one"}

PAID = ["charge", "paid"]
SENT = ["reserve", "invoice", "ship", "watchers", "tell"]
REFUSED = ["refuse", "regret"]


class ShopTestCase(TestCase):
    """A shop whose files are thrown away, in the hands of a test kit."""

    test: Kit
    outputs: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        folder = self.enterContext(TemporaryDirectory())
        files = {
            name: Path(folder) / name.lower() for name in ("MEDIA_ROOT", "GATEWAY_FOLDER", "MAIL_FOLDER")
        }
        # The slow default is for real passwords.
        hashers = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        self.enterContext(override_settings(**files, PASSWORD_HASHERS=hashers))
        self.test = self.enterContext(workflow_test(self.outputs))

    def sign_up(self) -> User:
        self.client.post(reverse("sign_up"), {**ACCOUNT, **SECRETS})
        self.test.execute_due()
        return User.objects.get(username="customer")

    def buy(self, price: str, *, quantity: int = 1, stock: int = 9, watchers: str = "") -> Run:
        """Buy as a new customer, and return the run of the order, which waits for the payment."""
        self.sign_up()
        mail.outbox.clear()
        self.product = Product.objects.create(name="Teapot", price=price, stock=stock)
        self.client.post(reverse("buy", args=[self.product.pk]), {"quantity": quantity, "watchers": watchers})
        self.test.execute_due()
        self.order = Order.objects.get()
        return Run.objects.get(key=f"order-{self.order.pk}")

    def hear(self, verdict: Literal["paid", "declined"] = "paid") -> None:
        """Let the payment provider call the shop."""
        message = gateway.sign(f"order-{self.order.pk}", verdict)
        self.assertRedirects(
            self.client.post(reverse("payment"), {"message": message}),
            reverse("order", args=[self.order.pk]),
            fetch_redirect_response=False,
        )
        self.test.execute_due()

    def reload(self, run: Run) -> Run:
        for row in (self.order, self.product, run):
            row.refresh_from_db()
        return run

    def refunds(self) -> list[str]:
        return [path.name for path in Path(settings.GATEWAY_FOLDER).glob("*-refunded")]


class WelcomeTest(ShopTestCase):
    def test_a_new_customer_gets_a_mail_and_is_on_the_list(self) -> None:
        user = self.sign_up()
        run = Run.objects.get(workflow__name="welcome")
        assert (run.status, run.subject) == ("done", user)
        assert self.test.path(run) == ["greet", "contact"]
        assert [message.to for message in mail.outbox] == [["customer@example.com"]]
        assert mail.outbox[0].subject == "Welcome, customer!"
        assert Contact.objects.get().email == "customer@example.com"

    def test_a_sign_up_that_is_rolled_back_leaves_nothing(self) -> None:
        with transaction.atomic():
            User.objects.create_user("customer", "customer@example.com")
            transaction.set_rollback(True)
        self.test.execute_due()
        assert not Run.objects.exists()
        assert mail.outbox == []

    def test_nobody_is_welcomed_twice_or_by_a_fixture(self) -> None:
        user = self.sign_up()
        user.first_name = "New"
        user.save()
        User(username="loaded", email="loaded@example.com").save_base(raw=True)
        assert Run.objects.count() == 1

    def test_without_an_address_there_is_nothing_to_do(self) -> None:
        User.objects.create_user("clerk")
        assert self.test.path(Run.objects.get()) == []
        assert Run.objects.get().status == "done"
        assert not Contact.objects.exists()


class OrderTest(ShopTestCase):
    def test_an_order_is_paid_reserved_invoiced_and_shipped(self) -> None:
        run = self.buy("20.00", quantity=2)
        assert self.test.path(run) == ["charge"]
        self.hear()
        self.reload(run)
        assert (run.status, self.order.status, self.product.stock) == ("done", "fulfilled", 7)
        assert sorted(self.test.path(run)) == sorted(PAID + SENT)
        with self.order.invoice.open("r") as invoice:
            assert "Total 40.00" in invoice.read()
        assert "gift" not in mail.outbox[0].body

    def test_a_large_order_comes_with_a_gift(self) -> None:
        self.buy("50.00")
        self.hear()
        assert "with a mug as a gift" in mail.outbox[0].body

    def test_everybody_who_watches_is_told(self) -> None:
        run = self.buy("10.00", watchers="a@example.com, b@example.com a@example.com")
        self.hear()
        told = [["customer@example.com"], ["a@example.com"], ["b@example.com"]]
        assert [message.to for message in mail.outbox] == told
        assert len(run.output_of("tell")) == 3

    def test_one_wrong_address_keeps_nobody_from_being_told(self) -> None:
        run = self.buy("10.00", watchers="a@example.com")
        Order.objects.update(watchers=["nowhere", "a@example.com"])
        self.hear()
        assert self.reload(run).status == "done"
        assert [message.to for message in mail.outbox] == [["customer@example.com"], ["a@example.com"]]

    def test_a_charge_that_timed_out_is_tried_again(self) -> None:
        run = self.buy("19.99")
        assert (run.status, self.test.path(run)) == ("waiting", [])
        self.test.advance()
        assert self.test.path(run) == ["charge"]
        assert run.step_runs.filter(step="charge").count() == 2

    def test_what_fails_after_the_payment_is_refunded(self) -> None:
        run = self.buy("10.00", quantity=10)
        self.hear()
        self.reload(run)
        assert (run.status, run.step) == ("failed", "reserve")
        assert "9 pieces of Teapot are left" in run.error
        assert (self.order.status, self.product.stock) == ("refunded", 9)
        assert self.refunds() == [f"{self.order.charge}-refunded"]

    def test_an_order_that_failed_can_be_started_anew(self) -> None:
        run = self.buy("10.00", quantity=10)
        self.hear()
        Product.objects.update(stock=20)
        again = restart_run(run, note="there are more now")
        self.hear()
        assert (self.reload(again).status, self.order.status, self.product.stock) == ("done", "fulfilled", 10)

    def test_an_order_that_was_sent_can_be_undone_by_hand(self) -> None:
        run = self.buy("10.00")
        self.hear()
        undo_run(run, note="it broke on the way")
        assert self.test.path(run)[-1] == "charge:undo"
        assert self.reload(run).status == "done"
        assert self.order.status == "refunded"

    def test_only_the_customer_sees_an_order(self) -> None:
        self.buy("10.00")
        self.hear()
        page = reverse("order", args=[self.order.pk])
        self.assertContains(self.client.get(page), "Fulfilled")
        self.client.force_login(User.objects.create_user("somebody"))
        assert self.client.get(page).status_code == 404


class PaymentTest(ShopTestCase):
    def test_the_order_page_offers_to_pay(self) -> None:
        self.buy("10.00")
        page = reverse("order", args=[self.order.pk])
        self.assertContains(self.client.get(page), "<button>Pay</button>", html=True)
        self.hear()
        self.assertNotContains(self.client.get(page), "<button>Pay</button>", html=True)

    def test_a_provider_that_repeats_itself_is_heard_once(self) -> None:
        run = self.buy("10.00")
        self.hear()
        self.hear()
        assert self.test.path(run).count("paid") == 1
        assert run.events.count() == 1

    def test_a_declined_card_ends_in_a_mail_and_a_failed_run(self) -> None:
        run = self.buy("10.00")
        self.hear("declined")
        self.reload(run)
        assert (run.status, run.error) == ("failed", "the card was declined")
        assert (self.order.status, self.product.stock) == ("refused", 9)
        assert self.test.path(run) == ["charge", *REFUSED, "charge:undo"]
        assert "The reason: the card was declined." in mail.outbox[0].body

    def test_who_does_not_pay_within_two_days_is_refused(self) -> None:
        run = self.buy("10.00")
        self.test.advance(hours=47)
        assert self.reload(run).status == "waiting"
        self.test.advance(hours=1)
        self.reload(run)
        assert (run.status, self.order.status) == ("failed", "refused")
        assert self.test.path(run) == ["charge", *REFUSED, "charge:undo"]

    def test_nobody_but_the_provider_is_believed(self) -> None:
        run = self.buy("10.00")
        for message in ("", "order-1", gateway.sign("order-1", "paid")[:-1]):
            assert self.client.post(reverse("payment"), {"message": message}).status_code == 400
        assert self.test.path(run) == ["charge"]


class ApprovalTest(ShopTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.manager = User.objects.create_user("manager", "manager@example.com")
        self.manager.user_permissions.add(Permission.objects.get(codename="approve_order"))

    def order_desks(self) -> Run:
        """Buy for more than 1,000 and pay: the run waits for the manager."""
        run = self.buy("640.00", quantity=2)
        self.hear()
        return run

    def test_an_order_of_a_thousand_needs_nobody(self) -> None:
        run = self.buy("1000.00")
        self.hear()
        assert "approve" not in self.test.path(run)
        assert self.reload(run).status == "done"

    def test_the_manager_approves_by_the_link_in_the_mail(self) -> None:
        run = self.order_desks()
        assert (self.test.path(run), self.reload(run).status) == (PAID, "waiting")
        (letter,) = mail.outbox
        assert letter.to == ["manager@example.com"]
        link = letter.body[letter.body.index(settings.BASE_URL) :].split()[0]
        page = link.removeprefix(settings.BASE_URL)
        self.assertContains(self.client.get(page), "2 × Teapot for customer: 1280.00")
        assert self.reload(run).status == "waiting"
        self.client.post(page, {"verdict": "approve", "note_text": "a good customer"})
        assert sorted(self.test.path(run)) == sorted([*PAID, "approve", "gift", *SENT])
        answer = run.output_of("approve")
        assert (answer["by"], answer["note"]) == (["manager"], "a good customer")

    def test_a_rejection_refunds(self) -> None:
        run = self.order_desks()
        self.test.reject(run, "approve", by=self.manager, note="we know them")
        assert self.test.path(run) == [*PAID, *REFUSED, "charge:undo"]
        self.reload(run)
        assert (run.status, run.error, self.order.status) == ("failed", "we know them", "refused")
        assert self.refunds() == [f"{self.order.charge}-refunded"]

    def test_nobody_answers_within_three_days(self) -> None:
        run = self.order_desks()
        self.test.advance(days=3)
        assert self.test.path(run) == [*PAID, *REFUSED, "charge:undo"]
        assert run.step_runs.get(step="approve").error_type.endswith("WaitTimeout")

    def test_others_may_not_answer(self) -> None:
        run = self.order_desks()
        for user in (self.order.customer, User.objects.create_user("clerk")):
            assert not StepRun.objects.approvable_by(user).exists()
            with self.assertRaisesMessage(NotAllowed, user.username):
                self.test.approve(run, "approve", by=user)
        assert StepRun.objects.approvable_by(self.manager).get().run == run


class RestockTest(ShopTestCase):
    def test_deliveries_come_until_there_are_enough(self) -> None:
        product = Product.objects.create(name="Notebook", price="4.50", stock=3)
        run = self.test.trigger("restock", {"product": product, "enough": 25})
        product.refresh_from_db()
        assert (run.status, product.stock) == ("done", 33)
        assert self.test.path(run).count("deliver") == 3

    def test_an_order_that_leaves_few_pieces_calls_it(self) -> None:
        run = self.buy("10.00", stock=5)
        self.hear()
        called = Run.objects.get(workflow__name="restock")
        assert called.parent == run.step_runs.get(step="restock")
        assert (called.status, self.reload(run).status, self.product.stock) == ("done", "done", 24)

    def test_an_order_that_leaves_enough_does_not(self) -> None:
        self.buy("10.00", stock=6)
        self.hear()
        assert not Run.objects.filter(workflow__name="restock").exists()


class WithoutProviderTest(ShopTestCase):
    """What the kit stands in for is not called."""

    outputs: ClassVar[dict[str, Any]] = {"charge": {"charge": "ch_1"}, "paid": None, "invoice": "invoice.txt"}

    def test_only_the_path_matters(self) -> None:
        run = self.buy("10.00")
        assert sorted(self.test.path(run)) == sorted(PAID + SENT)
        self.order.refresh_from_db()
        assert (self.order.status, self.order.charge, self.order.invoice.name) == ("fulfilled", "", "")


class PageTest(ShopTestCase):
    def test_every_page_answers(self) -> None:
        Product.objects.create(name="Notebook", price="4.50", stock=3)
        for name in ("products", "sign_up", "login", "mails"):
            assert self.client.get(reverse(name)).status_code == 200
