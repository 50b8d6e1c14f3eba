"""The catalogue of step types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_workflow import Retry, define, step
from django_workflow.insight.catalogue import (
    describe_crash,
    describe_retry,
    describe_type,
    example_of,
    where_used,
)
from django_workflow.registry import all_handlers, get_handler
from tests.support.admin_step_types import change_url
from tests.testapp.models import Order

from .conftest import Login

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

PAGE = "/admin/django_workflow/steptype/"


def test_every_step_type_is_shown_with_its_params(admin_client: Client) -> None:
    text = admin_client.get(PAGE).text
    for handler in all_handlers():
        assert f'id="type-{handler.type}"' in text
    assert "On at most" not in text
    assert "Who has it may answer, such as shop.approve_order." in text
    assert "It runs again, which does no harm." in text


def test_a_type_leads_to_the_workflows_that_use_it(admin_client: Client) -> None:
    undo = {"type": "admintest.note", "with": {}}
    workflow = define("shop", steps=[{"type": "admintest.echo", "undo": undo}])
    used = where_used()
    assert used["admintest.echo"] == used["admintest.note"] == [(workflow.pk, "shop")]
    assert change_url(workflow) in admin_client.get(PAGE, {"q": "admintest.note"}).text


def test_types_are_searched(admin_client: Client) -> None:
    page = admin_client.get(PAGE, {"q": "APPROVAL"})
    assert [entry.handler.type for entry in page.context["entries"]] == ["flow.approval"]
    assert "No step type fits." in admin_client.get(PAGE, {"q": "<nothing>"}).text


def test_types_are_listed_by_their_beginning(admin_client: Client) -> None:
    text = admin_client.get(PAGE).text
    assert '<a href="?q=flow."><strong>flow</strong></a>' in text
    assert '<a href="#type-flow.approval">approval</a>' in text


def test_params_are_told_in_words(admin_client: Client, register: Callable[..., Any]) -> None:
    @register("admintest.words", retry=Retry(attempts=3, errors=("OSError", "Timeout")), timeout="90s")
    def words(order: Order, other: Order | None = None, note: str | None = None, count: int = 2) -> None: ...

    handler = get_handler("admintest.words")
    assert handler is not None
    assert [describe_type(param) for param in handler.params] == [
        "testapp.Order",
        "testapp.Order",
        "string",
        "integer",
    ]
    assert "errors: OSError, Timeout" in describe_retry(handler)
    page = admin_client.get(PAGE, {"q": "admintest.words"})
    [entry] = page.context["entries"]
    assert [default for _param, _type, default in entry.params] == ["", "", "", "2"]
    assert "optional" in page.text


def test_the_page_reads_definitions_once(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(8):
        define(f"shop-{number}", steps=[{"type": "admintest.echo"}])
    with django_assert_max_num_queries(6):
        assert "shop-7" in admin_client.get(PAGE).text


def test_workflows_are_no_links_for_who_may_not_open_them(login: Login) -> None:
    workflow = define("shop", steps=[{"type": "admintest.echo"}])
    text = login("view_run").get(PAGE).text
    assert "shop" in text
    assert change_url(workflow) not in text


def test_a_type_whose_params_cannot_be_read_says_why(
    admin_client: Client, register: Callable[..., Any]
) -> None:
    @register("admintest.odd")
    def odd(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert "Nowhere" in admin_client.get(PAGE, {"q": "admintest.odd"}).text


@pytest.mark.parametrize("permission", ["view_workflow", "view_run"])
def test_who_may_see_workflows_or_runs_sees_it(login: Login, permission: str) -> None:
    assert login(permission).get(PAGE).status_code == 200


def test_others_do_not(login: Login) -> None:
    assert login().get(PAGE).status_code == 403


@pytest.mark.parametrize("handler", list(all_handlers()), ids=lambda handler: handler.type)
def test_an_example_is_a_step_of_that_type(handler: Any) -> None:
    from django_workflow.definition.text import read_text

    [example] = read_text(example_of(handler), format="yaml")
    assert example["type"] == handler.type
    for param in handler.params:
        assert not param.required or param.name in example["with"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"atomic": True}, "exactly once"),
        ({"idempotent": True}, "no harm"),
        ({"rerun_after_crash": False}, "outcome unknown"),
        ({}, "at least once"),
    ],
)
def test_what_a_crash_does_is_said(register: Callable[..., Any], flags: dict[str, Any], says: str) -> None:
    step("admintest.crash", **flags)(lambda: None)
    handler = get_handler("admintest.crash")
    assert handler is not None
    assert says in describe_crash(handler)


@pytest.mark.parametrize("spec", [[], {"steps": None}, {"steps": ["no", {"undo": "no"}]}])
def test_a_stored_definition_of_another_shape_hides_no_types(admin_client: Client, spec: Any) -> None:
    used = define("used", steps=[{"name": "a", "type": "admintest.echo"}])
    odd = define("odd", steps=[{"name": "a", "type": "admintest.echo"}])
    odd.versions.update(spec=spec)
    assert change_url(used) in admin_client.get(PAGE).text
