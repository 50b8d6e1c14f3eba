"""The mail of ``mail.send``: addresses and headers checked, templates rendered, one message built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from email.utils import getaddresses, parseaddr
from typing import Any

from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import EmailValidator
from django.template import Context, Template
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils import translation
from django.utils.encoding import punycode

from .context import StepContext
from .exceptions import ParamsError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[!-9;-~]+", re.ASCII)
_SINGLE_LABEL = re.compile(r"[a-z0-9-]+", re.ASCII | re.IGNORECASE)
_NOT_IN_MESSAGE_ID = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a step says of its mail. Texts that are None come from ``template``, where that has them."""

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    from_email: str | None = None
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    template: str | None = None
    language: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def build_message(letter: Letter, context: StepContext) -> EmailMultiAlternatives:
    """Return the message, ready to be sent; every attempt of one step gives it the same Message-ID.

    Raises ``ParamsError`` with everything that is wrong.
    """
    problems: dict[str, list[str]] = {}
    for name, problem in [*_address_problems(letter), *_header_problems(letter)]:
        problems.setdefault(name, []).append(problem)
    if problems:
        raise ParamsError("mail.send", problems)
    subject, text, html = _write(letter, context)
    message = EmailMultiAlternatives(
        subject=" ".join(subject.split()),
        body=text or html,
        from_email=letter.from_email,
        to=letter.to,
        cc=letter.cc,
        bcc=letter.bcc,
        reply_to=letter.reply_to,
        headers=dict(letter.headers),
    )
    if text and html:
        message.attach_alternative(html, "text/html")
    elif html:
        message.content_subtype = "html"
    if "message-id" not in {name.lower() for name in letter.headers}:
        message.extra_headers["Message-ID"] = _message_id(context.idempotency_key, message.from_email)
    return message


def _address_problems(letter: Letter) -> Iterator[tuple[str, str]]:
    if not letter.to:
        yield "to", "nobody to send to: the list is empty"
    for name in ("to", "cc", "bcc", "reply_to"):
        for text in getattr(letter, name):
            if problem := _address_problem(text):
                yield name, problem
    if letter.from_email is not None and (problem := _address_problem(letter.from_email)):
        yield "from_email", problem


def _address_problem(text: str) -> str:
    if _CONTROL.search(text):
        return f"{text!r:.100} holds a line break or another control character"
    found = getaddresses([text])
    if len(found) > 1 and "," in text:
        return f"{text!r:.100} is more than one mail address: give several as a list"
    address = found[0][1] if len(found) == 1 else ""
    domain = address.rpartition("@")[2]
    # A host of the local network has no dot, which Django's validator would miss.
    local_hosts = [domain] if _SINGLE_LABEL.fullmatch(domain) else []
    try:
        EmailValidator(allowlist=local_hosts)(address)
    except ValidationError:
        return f"{text!r:.100} is no mail address"
    return ""


def _header_problems(letter: Letter) -> Iterator[tuple[str, str]]:
    for name, value in letter.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield "headers", f"{name!r:.100} is no name for a header"
        if _CONTROL.search(value):
            yield "headers", f"the value of {name!r:.100} holds a line break or another control character"


def _write(letter: Letter, context: StepContext) -> tuple[str, str, str]:
    """Return subject, text and HTML; what the step itself says goes before the template."""
    with _in_language(letter.language):
        values = _template_values(context) if letter.template else {}
        endings = (".subject.txt", ".txt", ".html")
        rendered = [_render(letter.template, ending, values) for ending in endings]
    if letter.template and rendered[1] is None and rendered[2] is None:
        missing = f"there is no template {letter.template}.txt and no {letter.template}.html"
        raise ParamsError("mail.send", {"template": [missing]})
    given = (letter.subject, letter.body, letter.html)
    subject, text, html = (own or found or "" for own, found in zip(given, rendered, strict=True))
    if not text.strip() and not html.strip():
        raise ParamsError("mail.send", {"body": ["the mail is empty: give a body, html or a template"]})
    return subject, text, html


def _in_language(language: str | None) -> AbstractContextManager[object]:
    if not language:
        return nullcontext()
    try:
        return translation.override(translation.get_supported_language_variant(language))
    except LookupError:
        problem = f"{language!r:.50} is not among the LANGUAGES of the settings"
        raise ParamsError("mail.send", {"language": [problem]}) from None


def _template_values(context: StepContext) -> dict[str, Any]:
    return {
        **context.state,
        "steps": context.steps,
        "run": {"id": str(context.run_id), "workflow": context.workflow},
        "item": context.item,
        "index": context.index,
    }


def _render(name: str | None, ending: str, values: Mapping[str, Any]) -> str | None:
    if not name:
        return None
    try:
        template = get_template(name + ending)
    except TemplateDoesNotExist:
        return None
    django_template = getattr(template, "template", None)
    if ending.endswith(".txt") and isinstance(django_template, Template):
        # In plain text, "&" is no "&amp;".
        return django_template.render(Context(dict(values), autoescape=False))
    return template.render(dict(values))


def _message_id(key: str, from_email: str) -> str:
    domain = parseaddr(from_email)[1].rpartition("@")[2] or "localhost"
    return f"<{_NOT_IN_MESSAGE_ID.sub('.', key)}@{punycode(domain)}>"
