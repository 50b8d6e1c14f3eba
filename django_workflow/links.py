"""Signed links to the page where an approval is answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.core import signing
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import salted_hmac

from .conf import get_settings
from .exceptions import PermanentError

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

SALT = "django_workflow.approval"
# How long a link holds where the step has no deadline.
LONGEST = timedelta(days=30)
NO_BASE_URL = (
    'the links in the mails of an approval begin with DJANGO_WORKFLOW["BASE_URL"], and that is not set: '
    'set it to the address of the site, such as "https://shop.example"'
)
NO_URLS = (
    "the links in the mails of an approval lead to a page of this app, and its URLs are not included: add "
    'path("workflows/", include("django_workflow.urls")) to the urlpatterns of the project'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalLink:
    """Which step run on which database is answered, and by whom: the key of a user, as text.

    Without a user the page asks to log in first. With a ``mark`` the link is for the user who had that key
    when it was made, see :func:`mark_of`: a key may be given again.
    """

    using: str
    step_run_id: UUID
    user: str | None = None
    mark: str = ""


def mark_of(user: AbstractBaseUser) -> str:
    """Return what tells ``user`` from a later one with the same key: when they joined, else their name."""
    told = getattr(user, "date_joined", None) or user.get_username()
    return salted_hmac(SALT, f"{user.pk} {told}", algorithm="sha256").hexdigest()[:16]


def name_user(user: AbstractBaseUser) -> str:
    """Return the text by which an approval names ``user``: the key with its mark."""
    return f"{user.pk} {mark_of(user)}"


def link_url(link: ApprovalLink) -> str:
    """Return the absolute address of the page.

    Raises ``PermanentError`` where ``BASE_URL`` is empty or the URLs of this app are not included.
    """
    base = get_settings().BASE_URL.rstrip("/")
    if not base:
        raise PermanentError(NO_BASE_URL)
    token = signing.dumps([link.using, link.step_run_id.hex, link.user, link.mark], salt=SALT)
    try:
        return base + reverse("django_workflow:approval", args=[token])
    except NoReverseMatch:
        raise PermanentError(NO_URLS) from None


def read_token(token: str) -> ApprovalLink:
    """Return what a link says. Raises ``django.core.signing.BadSignature`` for what was not signed here."""
    using, step_run_id, user, *mark = signing.loads(token, salt=SALT)
    return ApprovalLink(using=using, step_run_id=UUID(hex=step_run_id), user=user, mark="".join(mark))


def is_too_old(token: str) -> bool:
    """Return whether a signed ``token`` is older than a link without a deadline holds."""
    try:
        signing.loads(token, salt=SALT, max_age=LONGEST)
    except signing.SignatureExpired:
        return True
    return False
