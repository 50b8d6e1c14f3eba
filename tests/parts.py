"""The parts of a test run: calls of pytest that differ in database, Django, Python, or how often they try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

POSTGRES = {"WORKFLOW_TEST_DATABASE": "postgres"}
ON_POSTGRES = ("-m", "not one_database")
BROWSER = ("tests/browser", "--ds=tests.browser.settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One call of pytest. ``minutes`` is what it takes alone on two cores, roughly."""

    name: str
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    django: str = ""
    python: str = ""
    workers: int = 2
    minutes: float = 0

    @property
    def is_browser(self) -> bool:
        return self.arguments[: len(BROWSER)] == BROWSER

    @property
    def is_postgres(self) -> bool:
        return self.variables.get("WORKFLOW_TEST_DATABASE") == "postgres"

    def with_arguments(self, arguments: Sequence[str], *, has_paths: bool = False) -> Part:
        """Return it with more arguments, in one process; paths among them are instead of its own."""
        own = tuple(word for word in self.arguments if not (has_paths and word.startswith("tests/")))
        return replace(self, arguments=(*own, *arguments), workers=0)


def often(name: str, path: str, minutes: float, *, database: str = "postgres", **numbers: int) -> Part:
    """Return a part of the long form: tests that try something more often than the short form does."""
    variables = {f"WORKFLOW_TEST_{key.upper()}": str(value) for key, value in numbers.items()}
    on = POSTGRES if database == "postgres" else {}
    return Part(name=name, arguments=tuple(path.split()), variables={**on, **variables}, minutes=minutes)


SHORT = (
    Part(name="sqlite"),
    Part(name="postgres", arguments=ON_POSTGRES, variables=POSTGRES),
    Part(name="browser", arguments=BROWSER),
)
THOROUGH = {"HYPOTHESIS_PROFILE": "thorough"}
LONG = ()
