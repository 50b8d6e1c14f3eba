"""Mails with signed links, and the page behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail, signing
from django.test import Client, override_settings

from django_workflow import NotAllowed, approve, cancel_run, define, trigger
from django_workflow.links import SALT, ApprovalLink, link_url
from django_workflow.models import Answer, Run, StepRun
from tests.support.runs import fresh
from tests.testapp.models import Order, Tag

from .conftest import PERMISSION, Ask, pass_deadline, row_of

pytestmark = pytest.mark.django_db(transaction=True)
BASE = "https://shop.example"


@pytest.fixture(autouse=True)
def base_url(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": f"{BASE}/"}
    settings.LOGIN_URL = "/log-in/"


@pytest.fixture
def client() -> Client:
    """Return a browser that checks what a browser would be asked for."""
    return Client(enforce_csrf_checks=True)


def links() -> dict[str, str]:
    """Return the path in each mail that was sent, by address."""
    found = {}
    for letter in mail.outbox:
        (url,) = re.findall(rf"{re.escape(BASE)}(\S+)", str(letter.body))
        found[letter.to[0]] = url
    return found


def post(client: Client, path: str, **values: Any) -> Any:
    """Open the page, then send its form with ``values``."""
    client.get(path)
    token = client.cookies["csrftoken"].value
    return client.post(path, {**values, "csrfmiddlewaretoken": token})


def test_everybody_who_may_answer_gets_a_link_of_their_own(ask: Ask, boss: User, clerk: User) -> None:
    User.objects.create_superuser("root", "root@shop.example")
    User.objects.create_superuser("no address")
    User.objects.create_superuser("bad address", "bad")
    User.objects.create_superuser("gone", "gone@shop.example", is_active=False)
    run = ask(
        notify=True, message="Order <7> & more", user=User.objects.create_superuser("me", "me@shop.example")
    )
    found = links()
    assert found.keys() == {"boss@shop.example", "root@shop.example"}
    assert len(set(found.values())) == 2
    letter = mail.outbox[0]
    assert "Order <7> & more" in letter.body
    assert letter.subject == "Your approval is asked: ask"
    assert len({each.extra_headers["Message-ID"] for each in mail.outbox}) == 2
    assert "bad address" in str(row_of(run).logs)


def test_addresses_get_a_personal_link_where_they_are_of_one_who_may_answer(
    ask: Ask, boss: User, clerk: User, client: Client
) -> None:
    User.objects.create_superuser("twin 1", "twins@shop.example")
    User.objects.create_superuser("twin 2", "twins@shop.example")
    others = ["clerk@shop.example", "twins@shop.example", "all@shop.example"]
    ask(notify=["BOSS@shop.example", *others])
    found = links()
    assert b"boss" in client.get(found["boss@shop.example"]).content
    for address in others:
        response = client.get(found[address])
        assert response.status_code == 302
        assert response["Location"].startswith("/log-in/?next=/workflows/approval/")


def test_a_link_without_a_user_answers_as_who_is_logged_in(
    ask: Ask, boss: User, clerk: User, client: Client
) -> None:
    run = ask(notify="all@shop.example", message="Only for your eyes")
    path = links()["all@shop.example"]
    client.force_login(clerk)
    refused = client.get(path)
    assert refused.status_code == 403
    assert b"eyes" not in refused.content
    client.force_login(boss)
    assert post(client, path, verdict="approve").status_code == 302
    assert fresh(run).status == "done"


def test_opening_the_page_decides_nothing(ask: Ask, boss: User, client: Client) -> None:
    run = ask(notify=True, message="Order <7>")
    path = links()["boss@shop.example"]
    for _ in range(2):
        page = client.get(f"{path}?verdict=approve")
        assert client.head(path).status_code == page.status_code == 200
    assert "Order &lt;7&gt;" in page.content.decode()
    assert (fresh(run).status, Answer.objects.count()) == ("waiting", 0)


def test_only_a_post_with_its_token_decides(ask: Ask, boss: User, client: Client) -> None:
    run = ask(notify=True)
    path = links()["boss@shop.example"]
    assert client.post(path, {"verdict": "approve"}).status_code == 403
    for verdict in ({}, {"verdict": "maybe"}):
        assert post(client, path, **verdict).status_code == 200
    assert fresh(run).status == "waiting"
    assert post(client, path, verdict="approve", note_text="fine").status_code == 302
    assert (fresh(run).status, Answer.objects.get().note) == ("done", "fine")


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_a_link_is_used_once_and_then_says_who_answered(
    ask: Ask, boss: User, client: Client, verdict: str
) -> None:
    run = ask(notify=True, users=["boss", User.objects.create_user("other").pk], count=2)
    path = links()["boss@shop.example"]
    post(client, path, verdict=verdict)
    page = client.get(path)
    assert page.status_code == 200
    assert "by boss" in page.content.decode()
    assert ("Approved" if verdict == "approve" else "Rejected") in page.content.decode()
    assert "<form" not in page.content.decode()
    post(client, path, verdict="approve")
    assert Answer.objects.count() == 1
    assert fresh(run).status == ("waiting" if verdict == "approve" else "failed")


def test_another_s_answer_is_shown_and_cannot_be_overruled(ask: Ask, boss: User, client: Client) -> None:
    run = ask(notify=True)
    path = links()["boss@shop.example"]
    approve(run, "ok", by=User.objects.create_superuser("root"))
    page = client.get(path)
    assert "by root" in page.content.decode()


@pytest.mark.parametrize("end", [cancel_run, pass_deadline])
def test_what_is_not_asked_any_more_is_gone(
    ask: Ask, boss: User, client: Client, end: Callable[[Run], Any]
) -> None:
    run = ask(notify=True, step={"timeout": "1d"})
    path = links()["boss@shop.example"]
    assert b"Answer until" in client.get(path).content
    end(run)
    assert client.get(path).status_code == 410
    assert not Answer.objects.exists()


@pytest.mark.parametrize(("days", "status"), [(29, 200), (31, 410)])
def test_a_link_without_a_deadline_holds_for_thirty_days(
    ask: Ask, boss: User, client: Client, monkeypatch: pytest.MonkeyPatch, days: int, status: int
) -> None:
    now = signing.time.time()
    ago = timedelta(days=days).total_seconds()
    monkeypatch.setattr(signing.time, "time", lambda: now - ago)
    ask(notify=True)
    monkeypatch.undo()
    assert client.get(links()["boss@shop.example"]).status_code == status


def bad_tokens(run: Run, boss: User) -> Iterator[str]:
    row = row_of(run)
    good = [row._state.db, row.pk.hex, str(boss.pk)]
    yield "nothing"
    yield signing.dumps(good, salt="another")
    yield signing.dumps(good, salt=SALT)[:-1]
    yield signing.dumps(["elsewhere", *good[1:]], salt=SALT)
    yield signing.dumps([good[0], run.pk.hex, good[2]], salt=SALT)
    yield signing.dumps([*good[:2], "999999"], salt=SALT)


def test_a_bad_link_is_not_found(ask: Ask, boss: User, client: Client) -> None:
    run = ask()
    for token in bad_tokens(run, boss):
        page = client.get(f"/workflows/approval/{token}/")
        assert (token, page.status_code) == (token, 404)
        assert b"<h1>" in page.content


@pytest.mark.parametrize("loss", ["permission", "active"])
def test_who_lost_the_right_to_answer_is_turned_away(ask: Ask, boss: User, client: Client, loss: str) -> None:
    ask(notify=True, message="Only for your eyes")
    if loss == "permission":
        boss.user_permissions.clear()
    else:
        User.objects.filter(pk=boss.pk).update(is_active=False)
    page = client.get(links()["boss@shop.example"])
    assert page.status_code == 403
    assert b"eyes" not in page.content


def test_an_approval_of_named_users_is_not_for_a_later_one_with_the_same_key(ask: Ask, boss: User) -> None:
    run, pk = ask(users=["boss"]), boss.pk
    assert StepRun.objects.approvable_by(boss).exists()
    boss.delete()
    later = User.objects.create_superuser("boss", "boss@shop.example", pk=pk)
    assert not StepRun.objects.approvable_by(later).exists()
    with pytest.raises(NotAllowed, match="is none of those who are asked"):
        approve(run, "ok", by=later)


def test_an_approval_that_an_earlier_release_has_asked_names_users_by_key(ask: Ask, boss: User) -> None:
    run = ask(users=["boss"])
    row = row_of(run)
    row.awaits = {**(row.awaits or {}), "users": {str(boss.pk): True}}
    row.save(update_fields=["awaits"])
    assert list(StepRun.objects.approvable_by(boss)) == [row]
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_a_link_is_not_for_a_later_user_with_the_same_key(ask: Ask, boss: User, client: Client) -> None:
    run = ask(notify=True, message="Only for your eyes")
    path, pk = links()["boss@shop.example"], boss.pk
    User.objects.filter(pk=pk).update(username="chief", password="!")
    assert b"chief" in client.get(path).content
    boss.delete()
    User.objects.create_superuser("boss", "boss@shop.example", pk=pk)
    page = client.get(path)
    assert page.status_code == 404
    assert b"eyes" not in page.content
    client.handler.enforce_csrf_checks = False
    assert client.post(path, {"verdict": "approve"}).status_code == 404
    assert fresh(run).status == "waiting"


def test_no_page_is_kept_indexed_framed_or_told_to_others(ask: Ask, boss: User, client: Client) -> None:
    ask(notify=[boss.email, "all@shop.example"])
    paths = [*links().values(), "/workflows/approval/nothing/"]
    for page in map(client.get, paths):
        assert page["Cache-Control"] == "no-store"
        assert page["Referrer-Policy"] == "same-origin"
        assert page["X-Robots-Tag"].startswith("noindex")
        assert page["X-Frame-Options"] == "DENY"


def test_the_page_works_without_scripts_and_names_its_fields(ask: Ask, boss: User, client: Client) -> None:
    ask(notify=True, form={"limit": "int", "verdict": {"type": "str", "required": False}})
    html = client.get(links()["boss@shop.example"]).content.decode()
    assert '<html lang="en' in html
    assert "<script" not in html
    assert "style=" not in html
    for field in re.findall(r'<(?:input|textarea|select)[^>]* id="([^"]+)"', html):
        assert f'for="{field}"' in html
    assert html.count("<label") == 3


def test_the_form_is_filled_in_and_problems_are_shown_beside_it(ask: Ask, boss: User, client: Client) -> None:
    form = {"limit": "int", "note": {"type": "str", "required": False}, "until": "duration", "fast": "bool"}
    run = ask(notify=True, form=form)
    path = links()["boss@shop.example"]
    wrong = post(client, path, verdict="approve", **{"data.limit": "x"})
    assert wrong.content.count(b"errorlist") == 2
    post(client, path, verdict="approve", **{"data.limit": "7", "data.until": "2d", "data.note": "a"})
    assert fresh(run).status == "done"
    data = row_of(run).output["data"]
    assert data == {"limit": 7, "note": "a", "until": {"$timedelta": "P2DT00H00M00S"}, "fast": False}


def test_a_rejection_needs_no_form(ask: Ask, boss: User, client: Client) -> None:
    run = ask(notify=True, form={"limit": "int"})
    assert post(client, links()["boss@shop.example"], verdict="reject", note_text="no").status_code == 302
    assert row_of(run).error == "no"


def test_rows_are_listed_only_to_who_may_view_them(ask: Ask, boss: User, client: Client) -> None:
    tag = Tag.objects.create(name="secret tag")
    run = ask(notify=True, form={"tag": "testapp.Tag"})
    path = links()["boss@shop.example"]
    assert "secret tag" not in client.get(path).content.decode()
    assert b"errorlist" in post(client, path, verdict="approve", **{"data.tag": "99"}).content
    boss.user_permissions.add(Permission.objects.get(codename="view_tag"))
    assert "secret tag" in client.get(path).content.decode()
    post(client, path, verdict="approve", **{"data.tag": str(tag.pk)})
    assert fresh(run).status == "done"


def test_the_page_shows_nothing_of_the_run_s_payload(boss: User, client: Client) -> None:
    asking = {"name": "ok", "type": "flow.approval", "with": {"permission": PERMISSION, "notify": True}}
    define("ask", steps=[asking])
    trigger("ask", {"card": "4111-1111"}, subject=Order.objects.create(number="O-99"))
    html = client.get(links()["boss@shop.example"]).content.decode()
    assert "4111" not in html
    assert "O-99" not in html


def test_a_missing_base_url_is_named(ask: Ask, boss: User, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    run = ask(notify=True)
    assert run.status == "failed"
    assert 'DJANGO_WORKFLOW["BASE_URL"], and that is not set: set it' in run.error
    assert run.version is not None
    [warning] = run.version.warnings
    assert "with.notify" in warning
    assert 'DJANGO_WORKFLOW["BASE_URL"]' in warning
    assert ask().status == "waiting"


def test_missing_urls_are_named(ask: Ask, boss: User) -> None:
    with override_settings(ROOT_URLCONF="django.contrib.auth.urls"):
        run = ask(notify=True)
    assert 'include("django_workflow.urls")' in run.error


def test_a_wrong_address_fails_the_step_before_any_mail_goes_out(ask: Ask, boss: User) -> None:
    run = ask(notify=["boss@shop.example", "nowhere"])
    assert (run.status, mail.outbox) == ("failed", [])
    assert "'nowhere' is no mail address" in run.error


def test_a_link_says_where_the_page_is(ask: Ask) -> None:
    row = row_of(ask(users=User.objects.create_user("someone").pk))
    assert link_url(ApprovalLink(using="default", step_run_id=row.pk)).startswith(
        f"{BASE}/workflows/approval/"
    )


def test_who_is_not_asked_does_not_learn_from_a_link_who_answered(ask: Ask, boss: User, clerk: User) -> None:
    run = ask(users=["boss"])
    link = ApprovalLink(using="default", step_run_id=row_of(run).pk)
    approve(run, "ok", by=boss)
    client = Client()
    client.force_login(clerk)
    page = client.get(link_url(link).removeprefix(BASE))
    assert "boss" not in page.content.decode()
