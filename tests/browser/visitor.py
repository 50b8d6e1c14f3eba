"""A person in front of a browser: what they open, and everything that goes wrong meanwhile."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = Path(os.environ.get("WORKFLOW_TEST_SCREENSHOTS", ROOT / ".screenshots"))
VERSION = "{}.{}".format(*django.VERSION)
# What the stock admin itself breaks on its own pages: a rule, and the place where. It is left out there and
# nowhere else, and never where an element of ours is concerned.
STOCK = (
    ("link-in-text-block", ".breadcrumbs"),
    ("link-in-text-block", "#changelist-search"),
    ("label-title-only", "#searchbar"),
)
_NOTE_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} kept ${event.blockedURI || "inline"} out`);
});
"""


@dataclass(kw_only=True, eq=False)
class Visitor:
    """A browser's window on the site at ``address``, and what went wrong in it until now."""

    page: Page
    address: str
    scheme: str
    width: int
    problems: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.add_init_script(_NOTE_VIOLATIONS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("response", self._receive)

    @property
    def context(self) -> BrowserContext:
        """The window's cookies and settings."""
        return self.page.context

    def log_in(self, user: AbstractBaseUser) -> None:
        """Be ``user``, by the cookie of a session."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        self.context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": cookie.value, "url": self.address}]
        )

    def open(self, path: str) -> Response:
        """Go to a page of the site, or to a whole address."""
        response = self.page.goto(path if "://" in path else self.address + path)
        assert response is not None
        return response

    def examine(self, name: str) -> None:
        """See to it that the page as it is breaks no rule, and keep a picture of it as ``name``.

        No error in the console, nothing that the policy kept out, no rule of axe's broken, nothing to be
        scrolled sideways.
        """
        self.page.wait_for_load_state("load")
        self.take_picture(name)
        found = [*self.problems, *self._broken_rules()]
        assert not found, "\n".join([f"{name}:", *found])
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the window"

    def take_picture(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        size = "-phone" if self.width < 600 else ""
        path = SCREENSHOTS / f"{name}-{self.scheme}{size}-django{VERSION}.png"
        self.page.screenshot(path=path, full_page=True)

    def _broken_rules(self) -> list[str]:
        found = Axe().run(self.page).response["violations"]
        return [
            f"{rule['id']} ({rule['help']}): {node['html'][:300]}"
            for rule in found
            for node in rule["nodes"]
            if not self._is_stock(rule["id"], node)
        ]

    def _is_stock(self, rule: str, node: dict[str, Any]) -> bool:
        [target, *_] = node["target"]
        is_ours = "workflow-" in node["html"] or ".workflow-" in target or "#workflow-" in target
        places = [place for name, place in STOCK if name == rule]
        return not is_ours and any(self._is_in(target, place) for place in places)

    def _is_in(self, target: str, place: str) -> bool:
        script = "([target, place]) => !!document.querySelector(target)?.closest(place)"
        return bool(self.page.evaluate(script, [target, place]))

    def _hear(self, message: ConsoleMessage) -> None:
        # That a request failed is told by the response itself.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def _receive(self, response: Response) -> None:
        is_own = response.url.startswith(self.address) and not response.url.endswith("/favicon.ico")
        if is_own and response.status >= 400 and response.status not in self.expected:
            self.problems.append(f"{response.status}: {response.url}")
