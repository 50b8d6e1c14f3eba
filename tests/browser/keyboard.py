"""What a person does who has only a keyboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # it needs Playwright, without which these tests are collected and skipped
    from .visitor import Visitor

MOST_STEPS = 250
_FOCUSED = """
() => {
  const element = document.activeElement;
  const text = element.getAttribute("aria-label") || element.innerText || element.value || element.name || "";
  return `${element.tagName.toLowerCase()} ${text.trim()}`;
}
"""


def go_to(window: Visitor, pattern: str) -> None:
    """Press Tab until what has the focus fits, such as ``a Failures`` or ``button Yes``."""
    seen = []
    for _ in range(MOST_STEPS):
        window.page.keyboard.press("Tab")
        seen.append(str(window.page.evaluate(_FOCUSED)))
        if re.match(pattern, seen[-1]):
            return
    raise AssertionError(f"no way to {pattern!r} by Tab; there were {list(dict.fromkeys(seen))}")


def follow(window: Visitor, pattern: str) -> str:
    """Go to a link or a button, press Enter, and return the path of the page that comes."""
    go_to(window, pattern)
    with window.page.expect_navigation():
        window.page.keyboard.press("Enter")
    window.page.wait_for_load_state("load")
    return urlsplit(window.page.url).path
