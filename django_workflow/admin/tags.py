"""The template tags of the admin's pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from ..insight.spans import show_span
from .pictures.marks import draw_badge, draw_mark
from .run_page import LIMIT
from .showing import show_json, show_moment

register = template.Library()
register.simple_tag(draw_badge, name="badge")
register.simple_tag(draw_mark, name="mark")
register.simple_tag(show_moment, name="moment")
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
def json(value: Any) -> str:
    """Return a stored value as text, hidden parts starred, cut where it is very long."""
    return show_json(value, LIMIT)
