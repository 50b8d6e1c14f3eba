"""``mail.send``, run in a real workflow and read from Django's outbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from email.message import Message
from typing import Any

import django
import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone

from django_workflow import define, trigger
from django_workflow.engine.execute import work
from django_workflow.models import Run
from tests.testapp.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

TO = "one@example.com"


def use_backend(settings: Any, backend: type[EmailBackend]) -> None:
    """Let mails go out by this backend."""
    path = f"{__name__}.{backend.__name__}"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": path}}
    else:
        settings.EMAIL_BACKEND = path


TEMPLATES = {
    "shop/both.txt": "Order {{ order.number }} & {{ steps.before.name }}, {{ run.workflow }}",
    "shop/both.html": "<p>{{ order.number }} {{ steps.before.name }}</p>",
    "shop/both.subject.txt": "\n  Order {{ order.number }}\n  is on its way\n",
    "shop/text.txt": "Only text",
    "shop/page.html": "<p>Only HTML</p>",
    "shop/item.txt": "{{ index }}: {{ item }}",
    "shop/french.txt": "{% load i18n %}{% translate 'Yes' %}",
}


@pytest.fixture(autouse=True)
def templates(settings: Any) -> None:
    loader = ("django.template.loaders.locmem.Loader", TEMPLATES)
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": {"loaders": [loader]}}]


def send(values: Mapping[str, Any] | None = None, **params: Any) -> Run:
    steps = [
        {"name": "before", "type": "flow.set", "with": {"seen": True}, "on_error": "continue"},
        {"name": "mail", "type": "mail.send", "with": params},
    ]
    define("mailing", steps=steps)
    return trigger("mailing", values)


def sent(**params: Any) -> EmailMultiAlternatives:
    run = send(**params)
    assert run.status == "done", run.error
    (message,) = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    return message


def refused(values: Mapping[str, Any] | None = None, **params: Any) -> str:
    run = send(values, **params)
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.ParamsError")
    assert mail.outbox == []
    return run.error


def test_a_mail_is_sent_and_its_output_says_to_whom() -> None:
    run = send(to=TO, subject="Hello", body="Good day.")
    (message,) = mail.outbox
    assert (message.subject, message.body, message.to) == ("Hello", "Good day.", [TO])
    output = run.output_of("mail")
    assert (output["sent"], output["to"]) == (1, [TO])
    assert output["message_id"] == message.message()["Message-ID"]


def test_expressions_give_the_addressee_and_the_text() -> None:
    values = {"people": [TO, "two@example.com", TO], "name": "World"}
    send(values, to="{{ people }}", subject="Hello {{ name }}", body="{{ name }} & co")
    (message,) = mail.outbox
    assert message.to == [TO, "two@example.com"]
    assert (message.subject, message.body) == ("Hello World", "World & co")


def test_every_field_reaches_the_message() -> None:
    message = sent(
        to=["Name Ünicode <one@example.com>"],
        cc="two@example.com",
        bcc=["three@example.com"],
        reply_to="desk@example.com",
        from_email="Shop <shop@example.com>",
        body="Text",
        html="<p>HTML</p>",
        headers={"X-Kind": "test"},
    )
    assert (message.cc, message.bcc) == (["two@example.com"], ["three@example.com"])
    assert (message.reply_to, message.from_email) == (["desk@example.com"], "Shop <shop@example.com>")
    assert message.message()["X-Kind"] == "test"
    assert [(content, kind) for content, kind in message.alternatives] == [("<p>HTML</p>", "text/html")]


def test_a_host_of_the_local_network_is_an_address() -> None:
    assert sent(to="root@mailhost", body="Text").to == ["root@mailhost"]


def test_html_alone_is_an_html_mail() -> None:
    message = sent(to=TO, html="<p>HTML</p>")
    assert (message.message().get_content_type(), message.body) == ("text/html", "<p>HTML</p>")


def test_a_template_gives_subject_text_and_html() -> None:
    order = Order.objects.create(number="A&1")
    define(
        "mailing",
        steps=[
            {"name": "before", "type": "flow.set", "with": {"x": 1}},
            {"name": "mail", "type": "mail.send", "with": {"to": TO, "template": "shop/both"}},
        ],
    )
    run = trigger("mailing", {"order": order})
    assert run.status == "done", run.error
    (message,) = mail.outbox
    assert message.subject == "Order A&1 is on its way"
    assert message.body == "Order A&1 & , mailing"  # plain text is not escaped
    assert message.alternatives[0][0] == "<p>A&amp;1 </p>"


def test_what_the_step_says_goes_before_the_template() -> None:
    message = sent(to=TO, template="shop/both", subject="Mine", html="<b>Mine</b>")
    assert message.subject == "Mine"
    assert message.body.startswith("Order")
    assert message.alternatives[0][0] == "<b>Mine</b>"


@pytest.mark.parametrize(
    ("template", "kind", "body"),
    [
        ("shop/text", "text/plain", "Only text"),
        ("shop/page", "text/html", "<p>Only HTML</p>"),
    ],
)
def test_one_of_text_and_html_is_enough(template: str, kind: str, body: str) -> None:
    message = sent(to=TO, template=template)
    assert (message.message().get_content_type(), message.body) == (kind, body)


def test_an_item_is_known_to_the_template() -> None:
    step = {"type": "mail.send", "for_each": "people", "with": {"to": "{{ item }}", "template": "shop/item"}}
    define("mailing", steps=[step])
    run = trigger("mailing", {"people": [TO, "two@example.com"]})
    assert run.status == "done", run.error
    assert sorted(message.body for message in mail.outbox) == [f"0: {TO}", "1: two@example.com"]


@pytest.mark.parametrize(("language", "text"), [("fr", "Oui"), ("fr-ch", "Oui"), ("de", "Ja")])
def test_the_template_speaks_the_language_that_is_asked_for(language: str, text: str) -> None:
    assert sent(to=TO, template="shop/french", language=language).body == text


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"to": ""}, "to: '' is no mail address"),
        ({"to": []}, "to: nobody to send to"),
        ({"to": "nobody"}, "'nobody' is no mail address"),
        ({"to": "a@b@example.com"}, "no mail address"),
        ({"to": "one@example..com"}, "no mail address"),
        ({"to": f"{TO}, two@example.com"}, "give several as a list"),
        ({"to": [TO, "two@"]}, "'two@' is no"),
        ({"to": f"{TO}\nBcc: two@example.com"}, "to: .*line break"),
        ({"to": f"Name\r\nBcc: two@example.com <{TO}>"}, "to: .*line break"),
        ({"to": TO, "cc": "x"}, "cc: "),
        ({"to": TO, "bcc": "x"}, "bcc: "),
        ({"to": TO, "reply_to": "x"}, "reply_to: "),
        ({"to": TO, "from_email": "shop\n<shop@example.com>"}, "from_email: .*line break"),
        ({"to": TO, "headers": {"X-A": "1\r\nBcc: two@example.com"}}, "'X-A' holds a line break"),
        ({"to": TO, "headers": {"X-A: 1\nBcc": "two@example.com"}}, "no name for a header"),
        ({"to": TO, "headers": {"X A": "1"}}, "no name for a header"),
    ],
)
def test_addresses_and_headers_that_cannot_be_are_refused(params: dict[str, Any], problem: str) -> None:
    error = refused(**{"body": "Text", **params})
    assert re.search(problem, error), error


def test_everything_wrong_is_said_at_once() -> None:
    error = refused(to="x", cc="y", headers={"A B": "1"}, body="Text")
    assert all(name in error for name in ("to:", "cc:", "headers:"))


@pytest.mark.parametrize("params", [{}, {"body": "  "}, {"body": "{{ nothing }}"}, {"subject": "Hello"}])
def test_a_mail_without_content_is_refused(params: dict[str, str]) -> None:
    assert "give a body, html or a template" in refused({"nothing": None}, to=TO, **params)


def test_a_template_that_does_not_exist_is_named() -> None:
    assert "there is no template shop/gone.txt and no shop/gone.html" in refused(to=TO, template="shop/gone")


def test_an_unknown_language_is_named() -> None:
    assert "'xx' is not among the LANGUAGES" in refused(to=TO, template="shop/text", language="xx")


def test_line_breaks_in_the_subject_become_spaces() -> None:
    values = {"title": "Hello\r\nBcc: two@example.com\n\n"}
    send(values, to=TO, subject="{{ title }}", body="Text")
    (message,) = mail.outbox
    assert message.subject == "Hello Bcc: two@example.com"
    assert message.message()["Bcc"] is None


class UnreliableBackend(EmailBackend):
    """Hands the mail on, and then says that it did not, the first time."""

    has_failed = False

    def send_messages(self, messages: Any) -> int:
        count = super().send_messages(messages)
        if not type(self).has_failed:
            type(self).has_failed = True
            raise ConnectionError("the server hung up")
        return count


def test_a_mail_that_is_sent_again_has_the_same_message_id(settings: Any) -> None:
    UnreliableBackend.has_failed = False
    use_backend(settings, UnreliableBackend)
    step = {"type": "mail.send", "with": {"to": TO, "body": "Text"}, "retry": {"attempts": 2, "delay": "1h"}}
    define("mailing", steps=[step])
    run = trigger("mailing")
    run.step_runs.filter(status="waiting").update(due_at=timezone.now() - timedelta(seconds=1))
    run.step_runs.filter(status="pending").update(due_at=timezone.now() - timedelta(seconds=1))
    work("default")
    run.refresh_from_db()
    assert run.status == "done", run.error
    first, second = (message.message()["Message-ID"] for message in mail.outbox)
    assert first == second
    assert str(run.pk) in first


def test_two_steps_have_different_message_ids() -> None:
    step = {"type": "mail.send", "with": {"to": TO, "body": "Text"}}
    define("mailing", steps=[step, step])
    trigger("mailing")
    first, second = (message.message()["Message-ID"] for message in mail.outbox)
    assert first != second


def test_a_message_id_of_ones_own_is_kept() -> None:
    message: Message = sent(to=TO, body="Text", headers={"message-id": "<mine@example.com>"}).message()
    assert message.get_all("Message-ID") == ["<mine@example.com>"]


class SendsNone(EmailBackend):
    """Fails silently, as a backend may be set up to."""

    def send_messages(self, messages: Any) -> int:
        return 0


class SaysNothing(EmailBackend):
    """Sends, and does not count."""

    def send_messages(self, messages: Any) -> None:  # type: ignore[override]
        super().send_messages(messages)


def test_mail_that_the_backend_did_not_send_is_a_failed_attempt(settings: Any) -> None:
    use_backend(settings, SendsNone)
    run = send(to=TO, body="x")
    assert run.status == "failed"
    assert "the mail was not sent" in run.error


def test_backend_that_does_not_count_has_sent(settings: Any) -> None:
    use_backend(settings, SaysNothing)
    assert send(to=TO, body="x").output["sent"] is None
    assert len(mail.outbox) == 1
