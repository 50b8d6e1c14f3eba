"""The banner on every page while nobody comes for what is due: told from rows, Redis is not asked."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ..insight.trouble import find_trouble
from ..models import Health
from .links import list_url
from .read_only import can_see


def warn_of_trouble(request: HttpRequest, site: AdminSite) -> None:
    """Put the banner among the messages of the page, where something is wrong.

    The health page says it itself, and more.
    """
    text = find_trouble(timezone.now())
    if not text:
        return
    url = list_url(site, Health) if can_see(site, Health, request) else ""
    if url and url == request.path:
        return
    link = format_html(' <a href="{}">{}</a>', url, _("See the health page.")) if url else ""
    messages.warning(request, format_html("{}{}", text, link))
