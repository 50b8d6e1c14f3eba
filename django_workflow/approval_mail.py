"""The mails of ``flow.approval``: a signed link to each who may answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils import translation

from .asking import find_answerers, has_column, user_rows
from .context import StepContext
from .exceptions import ParamsError
from .links import ApprovalLink, link_url, mark_of
from .mail import Letter, build_message
from .outcomes import AskApproval

TEMPLATE = "django_workflow/mail/approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """An address; ``user`` is whose personal link it gets, None for a link that asks to log in."""

    address: str
    user: AbstractBaseUser | None


def send_questions(
    question: AskApproval,
    context: StepContext,
    *,
    notify: bool | str | Sequence[str],
    link: ApprovalLink,
) -> None:
    """Send a mail to everybody who may answer, or to the addresses that ``notify`` names.

    All mails are built before the first one goes out. Raises ``ParamsError`` for an address that is none, and
    ``PermanentError`` where no link can be made.
    """
    users = find_answerers(question, context.log)
    if notify is True:
        messages = list(_to_users(users, question, context, link))
        if not messages:
            context.log("nobody who may answer has a mail address")
    else:
        addresses = [notify] if isinstance(notify, str) else list(notify or ())
        messages = [
            _build(_recipient(each, users), question, context, link) for each in dict.fromkeys(addresses)
        ]
    for message in messages:
        if message.send() == 0:
            context.log(f"the mail backend did not send the mail to {', '.join(message.to)}")


def _to_users(
    users: Sequence[AbstractBaseUser], question: AskApproval, context: StepContext, link: ApprovalLink
) -> Iterator[EmailMessage]:
    for user in users:
        if address := _address(user):
            try:
                yield _build(Recipient(address=address, user=user), question, context, link)
            except ParamsError as error:
                # A wrong address of one user must not keep the others from being asked.
                context.log(f"no mail to {user.get_username()}: {error}")


def _recipient(address: str, users: Sequence[AbstractBaseUser]) -> Recipient:
    field = auth.get_user_model().get_email_field_name()
    same = user_rows().filter(**{f"{field}__iexact": address})[:10] if has_column(field) else ()
    owners = [user for user in same if user.is_active]
    if len(owners) != 1 or owners[0] not in users:
        return Recipient(address=address, user=None)
    # To the address as it is stored: a database may call two alike that different people have.
    return Recipient(address=_address(owners[0]), user=owners[0])


def _address(user: AbstractBaseUser) -> str:
    return str(getattr(user, user.get_email_field_name(), "") or "")


def _build(
    recipient: Recipient, question: AskApproval, context: StepContext, link: ApprovalLink
) -> EmailMessage:
    key = None if recipient.user is None else str(recipient.user.pk)
    mark = "" if recipient.user is None else mark_of(recipient.user)
    values: dict[str, Any] = {
        "message": question.message,
        "link": link_url(replace(link, user=key, mark=mark)),
        "user": recipient.user,
        "workflow": context.workflow,
        "step": context.step,
    }
    with translation.override(settings.LANGUAGE_CODE):
        subject = render_to_string(f"{TEMPLATE}.subject.txt", values)
        body = render_to_string(f"{TEMPLATE}.txt", values)
    letter = Letter(
        to=(recipient.address,), subject=subject, body=body, headers={"Auto-Submitted": "auto-generated"}
    )
    # A Message-ID of its own for each, the same when it is sent again.
    own = replace(context, idempotency_key=f"{context.idempotency_key}:{key or recipient.address}")
    return build_message(letter, own)
