"""``{% load workflow %}``: what the templates of the admin's pages share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from ..admin.pictures.marks import draw_badge, draw_mark
from ..insight.spans import show_span

register = template.Library()
register.simple_tag(draw_badge, name="badge")
register.simple_tag(draw_mark, name="mark")
register.filter("span", show_span)


@register.simple_tag(takes_context=True)
def page_media(context: template.Context) -> SafeString:
    """Return the links to the page's ``media``, with the nonce of Django's own policy where there is one."""
    html = str(context["media"].render())
    nonce = context.get("csp_nonce")
    if nonce is not None:
        attribute = format_html(' nonce="{}"', nonce)
        html = html.replace("<script", f"<script{attribute}").replace("<link", f"<link{attribute}")
    return mark_safe(html)


@register.simple_tag(takes_context=True)
def nonce(context: template.Context) -> SafeString:
    """Return the attribute for a script or a style sheet, where Django's own policy wants one."""
    value = context.get("csp_nonce")
    return mark_safe("") if value is None else format_html('nonce="{}"', value)


@register.simple_tag
def moment(at: datetime | None, otherwise: Any = "–") -> Any:
    """Return a time as an element that a script may tell relatively; the absolute time is its title."""
    if at is None:
        return otherwise
    local = localtime(at)
    text = localize(local.replace(microsecond=0, tzinfo=None))
    title = f"{local:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {local:%Z}"
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), title, text)
