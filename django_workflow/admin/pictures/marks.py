"""Marks: a stand-in until the pictures are drawn."""

from django.utils.html import format_html
from django.utils.safestring import SafeString


def draw_mark(status: str) -> SafeString:
    """Return the mark of a status."""
    return format_html("")


def draw_badge(status: str, label: str | None = None) -> SafeString:
    """Return the mark and the word of a status."""
    return format_html('<span class="workflow-badge" data-status="{}">{}</span>', status, label or status)
