"""The mails of the shop, which are files here: so that people can see them, and follow their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from django.conf import settings

# What Django's file backend writes behind each mail.
_END = b"-" * 79 + b"\n"
_LINK = re.compile(r"https?://\S+")


def mail_files() -> list[Path]:
    """Return the files with mails, the oldest first."""
    return sorted(Path(settings.MAIL_FOLDER).glob("*"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_mails(path: Path) -> Iterator[EmailMessage]:
    """Yield the mails in a file."""
    for part in path.read_bytes().split(_END):
        if part.strip():
            message = message_from_bytes(part, policy=policy.default)
            assert isinstance(message, EmailMessage)
            yield message


def text_of(mail: EmailMessage) -> str:
    """Return what a mail says."""
    body = mail.get_body(("plain",))
    return "" if body is None else str(body.get_content())


def link_in(mail: EmailMessage) -> str:
    """Return the first link in a mail; empty where there is none."""
    found = _LINK.search(text_of(mail))
    return found[0] if found else ""
