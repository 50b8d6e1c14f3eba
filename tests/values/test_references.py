"""Model references: fetched once, and only plain fields of a row can be read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.base import ContentFile
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from django_workflow.exceptions import DeletedReference, NotStorable
from django_workflow.references import ModelReference, readable_fields, reference_to
from tests.testapp.models import Customer, Note, Order, Reply

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def order() -> Order:
    customer = Customer.objects.create(name="Ada", email="a@example.com", password="x", api_token="y")
    return Order.objects.create(customer=customer, number="A1", total=Decimal("12.50"), placed_at=now())


def test_references_are_equal_by_model_key_and_alias() -> None:
    one, same = ModelReference("testapp.order", 5), ModelReference("testapp.order", 5, "default")
    assert one == same
    assert (
        len({one, same, ModelReference("testapp.order", 5, "other"), ModelReference("testapp.order", 6)}) == 3
    )


@pytest.mark.parametrize(
    ("label", "text"), [("testapp.order", "testapp.Order 5"), ("gone.thing", "gone.thing 5"), ("x", "x 5")]
)
def test_a_reference_is_shown_by_label_and_key(label: str, text: str) -> None:
    assert str(ModelReference(label, 5)) == text


def test_fetch_reads_the_row_once(order: Order, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    reference = reference_to(order)
    with django_assert_num_queries(1):
        assert reference.fetch() == order
        assert reference.fetch() is reference.fetch()


def test_fetch_reads_from_the_references_alias() -> None:
    order = Order.objects.using("other").create(number="B1")
    assert reference_to(order) == ModelReference("testapp.order", order.pk, "other")
    assert reference_to(order).fetch()._state.db == "other"


@pytest.mark.parametrize("key", [5, "five"])
def test_a_row_that_is_gone_is_named(key: int | str) -> None:
    with pytest.raises(DeletedReference, match=f"^testapp.Order {key} no longer exists$"):
        ModelReference("testapp.order", key).fetch()


@pytest.mark.parametrize("label", ["gone.thing", "testapp.gone", "nonsense"])
def test_an_unknown_model_is_named(label: str) -> None:
    with pytest.raises(LookupError, match=f"^{label} 5: no installed app has the model '{label}'$"):
        ModelReference(label, 5).fetch()


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (Order(), "state.x: this testapp.Order is not saved"),
        (Order(pk=5), "not saved"),
        (AnonymousUser(), "anonymous"),
        (SimpleLazyObject(AnonymousUser), "anonymous"),
        ("text", "a str is no model instance"),
    ],
)
def test_only_a_saved_row_has_a_reference(instance: Any, reason: str) -> None:
    with pytest.raises(NotStorable, match=reason):
        reference_to(instance, path="state.x")


def test_a_lazy_user_has_a_reference() -> None:
    user = User.objects.create(username="somebody")
    assert reference_to(SimpleLazyObject(lambda: user)) == ModelReference("auth.user", user.pk)  # type: ignore[arg-type]


def test_concrete_fields_can_be_read(order: Order) -> None:
    reference = reference_to(order)
    names = ("id", "pk", "number", "total", "placed_at", "customer_id")
    expected = [order.pk, order.pk, "A1", Decimal("12.50"), order.placed_at, order.customer_id]
    assert [reference.lookup(name) for name in names] == expected


def test_a_foreign_key_gives_a_reference(
    order: Order, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    reference = reference_to(order)
    with django_assert_num_queries(1):  # the order: the customer is not read before it is needed
        customer = reference.lookup("customer")
    assert customer == ModelReference("testapp.customer", order.customer_id)
    assert customer.lookup("name") == "Ada"


def test_a_foreign_key_to_another_column_gives_a_reference_by_the_primary_key() -> None:
    note = Note.objects.create(text="asked", key="k")
    reference = reference_to(Reply.objects.create(note=note))
    assert reference.lookup("note") == ModelReference("testapp.note", note.pk)
    assert (reference.lookup("note").lookup("text"), reference.lookup("note_id")) == ("asked", "k")


def test_a_foreign_key_to_nothing_is_null() -> None:
    assert reference_to(Order.objects.create(number="A2")).lookup("customer") is None


def test_a_file_gives_its_name() -> None:
    customer = Customer.objects.create(name="Ada")
    assert reference_to(customer).lookup("photo") == ""
    customer.photo.save("ada.txt", ContentFile(b"x"))
    assert reference_to(customer).lookup("photo") == customer.photo.name


def test_the_key_is_known_without_the_row(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert ModelReference("testapp.order", 5).lookup("pk") == 5


@pytest.mark.parametrize(
    "name", ["grand_total", "label", "tags", "note", "save", "__class__", "_meta", "objects", "number__x", ""]
)
def test_nothing_but_fields_can_be_read(order: Order, name: str) -> None:
    with pytest.raises(
        LookupError, match=f"order has no readable field '{name}'; readable: customer, customer_id, id"
    ):
        reference_to(order).lookup(name)


@pytest.mark.parametrize("name", ["order_set", "orders", "order"])
def test_reverse_relations_cannot_be_read(order: Order, name: str) -> None:
    assert order.customer is not None
    with pytest.raises(LookupError, match="no readable field"):
        reference_to(order.customer).lookup(name)


@pytest.mark.parametrize("name", ["password", "api_token"])
def test_hidden_fields_cannot_be_read(order: Order, name: str) -> None:
    assert order.customer is not None
    with pytest.raises(LookupError, match=rf"^customer\.{name} is hidden \(HIDDEN_FIELDS\)$"):
        reference_to(order.customer).lookup(name)


def test_hidden_fields_are_a_setting_but_a_password_is_always_hidden(order: Order) -> None:
    assert order.customer is not None
    reference = reference_to(order.customer)
    with override_settings(DJANGO_WORKFLOW={"HIDDEN_FIELDS": ["MAIL", "id"]}):
        assert reference.lookup("api_token") == "y"
        assert reference.lookup("id") == order.customer.pk
        for name in ("email", "password"):
            with pytest.raises(LookupError, match="hidden"):
                reference.lookup(name)


def test_a_readable_field_of_a_missing_row_is_no_silent_null() -> None:
    with pytest.raises(DeletedReference):
        ModelReference("testapp.order", 5).lookup("number")


def test_readable_fields_are_listed_for_others() -> None:
    assert set(readable_fields(Customer)) == {"id", "name", "email", "photo"}
