"""Model references in runs: read fresh, readable fields only, and never made from outside data."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_workflow import define, trigger
from django_workflow.exceptions import DefinitionError, NotStorable
from django_workflow.models import Run
from tests.support.runs import let_time_pass, start, step_run, waiting_run
from tests.testapp.models import Customer, Order, Tag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order() -> Order:
    customer = Customer.objects.create(
        name="Customer", email="customer@example.com", password="pw-secret", api_token="token-secret"
    )
    order = Order.objects.create(customer=customer, number="A1", total=Decimal("1200.00"))
    order.tags.add(Tag.objects.create(name="vip"))
    return order


def echo(value: object, **fields: object) -> dict[str, object]:
    return {"name": "read", "type": "tests.echo", "with": {"value": value}, **fields}


def test_a_row_is_kept_as_a_reference_and_handlers_get_the_row(register, order) -> None:
    @register("tests.take")
    def take(context, order: Order) -> Order:
        assert context.state["order"] == order
        context.state["customer"] = order.customer
        return order

    run = start([{"name": "take", "type": "tests.take", "with": {"order": "{{ order }}"}}], {"order": order})
    assert run.input == {"order": {"$model": "testapp.order", "pk": order.pk}}
    assert run.state["customer"] == {"$model": "testapp.customer", "pk": order.customer.pk}
    assert run.output_of("take") == order


def test_expressions_read_fields_and_those_behind_a_foreign_key(order) -> None:
    run = start(
        [
            echo(
                [
                    "{{ order.number }}",
                    "{{ order.total }}",
                    "{{ order.customer.email }}",
                    "{{ order.customer_id }}",
                    "{{ order.pk }}",
                ]
            )
        ],
        {"order": order},
    )
    assert run.output == ["A1", {"$decimal": "1200.00"}, "customer@example.com", order.customer_id, order.pk]


def test_a_row_is_read_fresh_each_time(order) -> None:
    run = waiting_run([echo("{{ order.number }}")], {"order": order})
    Order.objects.update(number="B2")
    assert let_time_pass(run).output == "B2"


@pytest.mark.parametrize(
    ("total", "went"),
    [(Decimal("1200.00"), "skipped"), (Decimal("1.00"), "skipped"), (Decimal("1000.01"), "done")],
)
def test_a_condition_compares_a_decimal_field_as_a_number(order, total, went) -> None:
    Order.objects.update(total=total)
    run = start([echo(1, **{"if": "order.total > 1000 and order.total < 1100.5"})], {"order": order})
    assert step_run(run, "read").status == went


def test_text_compared_with_a_number_fails_with_a_message_to_act_on() -> None:
    run = start([echo(1, **{"if": "order.total > 1000"})], {"order": {"total": "1200.00"}})
    assert (run.status, step_run(run, "read").status) == ("failed", "failed")
    assert run.error_type.endswith("ExpressionError")
    for part in ("step 'read'", "if", "order.total > 1000", "text ('1200.00')", "a number (1000)"):
        assert part in run.error


def test_a_missing_name_fails_with_those_there_are() -> None:
    run = start([echo("{{ user.emial }}")], {"user": {"email": "a@example.com"}})
    assert run.status == "failed"
    for part in ("step 'read'", "with.value", "{{ user.emial }}", "user has no 'emial'", "email"):
        assert part in run.error


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("order.customer.password", "customer.password is hidden (HIDDEN_FIELDS)"),
        ("order.customer.api_token", "customer.api_token is hidden (HIDDEN_FIELDS)"),
        ("order.grand_total", "order has no readable field 'grand_total'"),
        ("order.label", "order has no readable field 'label'"),
        ("order.tags", "order has no readable field 'tags'"),
        ("order.customer.order_set", "customer has no readable field 'order_set'"),
        ("order.delete", "order has no readable field 'delete'"),
        ("order.objects", "order has no readable field 'objects'"),
        ("order.customer.photo.path", "has no 'path'"),
        ("user.password", "user.password is hidden (HIDDEN_FIELDS)"),
        ("user.groups", "user has no readable field 'groups'"),
        ("user.is_authenticated", "user has no readable field 'is_authenticated'"),
    ],
)
def test_what_is_out_of_reach_says_so(order, expression, message) -> None:
    user = User.objects.create_user("staff", password="pw-secret")
    run = start([echo(f"{{{{ {expression} }}}}")], {"order": order, "user": user})
    assert run.status == "failed"
    assert message in run.error
    assert "secret" not in run.error + step_run(run, "read").traceback


@pytest.mark.parametrize(
    "expression",
    ["order.__class__", "order._state", "order._meta", "text.__class__", "order.customer.__dict__"],
)
def test_pythons_own_names_are_refused_at_publishing(expression) -> None:
    with pytest.raises(DefinitionError, match=rf"step 'read', with.value: .*{expression}.*underscores"):
        define("flow", steps=[echo(f"{{{{ {expression} }}}}")])


def test_a_deleted_row_behind_a_reference_is_named(order) -> None:
    run = waiting_run([echo("{{ order.number }}")], {"order": order})
    pk = order.pk
    order.delete()
    run = let_time_pass(run)
    assert run.status == "failed"
    assert f"testapp.Order {pk} no longer exists" in run.error


def test_a_deleted_row_that_a_handler_wants_is_named(register, order) -> None:
    @register("tests.take")
    def take(context) -> None:
        context.state["order"]

    run = waiting_run([{"name": "take", "type": "tests.take"}], {"order": order})
    pk = order.pk
    order.delete()
    run = let_time_pass(run)
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.DeletedReference")
    assert f"testapp.Order {pk} no longer exists" in run.error


def test_a_deleted_row_that_nobody_reads_harms_nothing(order) -> None:
    run = waiting_run([echo(1)], {"order": order})
    order.delete()
    assert let_time_pass(run).status == "done"


POSED = {"$model": "auth.user", "pk": 1}


def test_a_reference_from_outside_stays_data(register) -> None:
    @register("tests.take")
    def take(context, value: dict) -> dict:
        assert context.state["posed"] == POSED
        context.state["again"] = value
        return {"nested": [value]}

    User.objects.create_user("staff", pk=1)
    steps = [
        {"name": "take", "type": "tests.take", "with": {"value": "{{ posed }}"}},
        {
            "name": "read",
            "type": "tests.echo",
            "with": {"value": ["{{ posed }}", "{{ again }}", "{{ steps.take.nested.0 }}"]},
        },
    ]
    run = start(steps, {"posed": POSED})
    assert run.status == "done"
    assert run.output_of("read") == [POSED, POSED, POSED]
    assert run.state["posed"] == {"$dict": POSED}


def test_a_reference_from_outside_cannot_be_read_through() -> None:
    User.objects.create_user("staff", pk=1)
    run = start([echo("{{ posed.username }}")], {"posed": POSED})
    assert run.status == "failed"
    assert "posed has no 'username'" in run.error


def test_keys_of_the_input_that_begin_with_a_dollar_stay_data_too() -> None:
    run = start(
        [{"type": "flow.set", "with": {"copied": "{{ a }}"}}],
        {"$model": "auth.user", "pk": 1, "a": {"$date": "x"}},
    )
    assert run.status == "done"
    assert run.state["$model"] == "auth.user"
    assert run.state["copied"] == {"$dict": {"$date": "x"}}


def test_a_declared_input_takes_a_key_for_a_row(order) -> None:
    define("flow", steps=[echo("{{ order.number }}")], input={"order": "testapp.Order"})
    run = trigger("flow", {"order": order.pk})
    assert (run.output, run.input) == ("A1", {"order": {"$model": "testapp.order", "pk": order.pk}})


@pytest.mark.parametrize(
    ("value", "reason"), [(Order(number="new"), "save it first"), (AnonymousUser(), "anonymous")]
)
def test_what_has_no_row_is_refused(value, reason) -> None:
    start([echo(1)])
    with pytest.raises(NotStorable, match=rf"^input\.it: .*{reason}"):
        trigger("flow", {"it": value})


def test_the_subject_of_a_run_is_found_again(order) -> None:
    define("flow", steps=[echo(1)])
    user = User.objects.create_user("staff")
    run = trigger("flow", subject=order, user=user)
    assert Run.objects.about(order).get() == run
    assert Run.objects.get().subject == order
    assert Run.objects.get().triggered_by == user
    order.delete()
    assert Run.objects.get().subject is None
