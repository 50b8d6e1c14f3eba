"""The parts of a test run: calls of pytest that differ in database, Django, Python, or how often they try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.environments import DJANGOS

POSTGRES = {"WORKFLOW_TEST_DATABASE": "postgres"}
ON_POSTGRES = ("-m", "not one_database")
ON_SQLITE = ("-m", "not processes or sqlite_too")
BROWSER = ("tests/browser", "--ds=tests.browser.settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One call of pytest. ``minutes`` is what it takes on two cores; one never timed is not drawn."""

    name: str
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    django: str = ""
    python: str = ""
    workers: int = 2
    minutes: float | None = None

    @property
    def is_browser(self) -> bool:
        return self.arguments[: len(BROWSER)] == BROWSER

    @property
    def is_postgres(self) -> bool:
        return self.variables.get("WORKFLOW_TEST_DATABASE") == "postgres"

    def with_processes(self) -> Part:
        """Return it with the tests that start processes, which are else left to PostgreSQL."""
        return replace(self, arguments=()) if self.arguments == ON_SQLITE else self

    def with_arguments(self, arguments: Sequence[str], *, has_paths: bool = False) -> Part:
        """Return it with more arguments, in one process; paths among them are instead of its own."""
        own = tuple(word for word in self.arguments if not (has_paths and word.startswith("tests/")))
        return replace(self, arguments=(*own, *arguments), workers=0)


def often(
    name: str, *paths: str, minutes: float | None = None, database: str = "postgres", **numbers: int
) -> Part:
    """Return a part of the long form: tests that try something more often than the short form does."""
    variables = {f"WORKFLOW_TEST_{key.upper()}": str(value) for key, value in numbers.items()}
    return Part(
        name=name,
        arguments=paths if database == "sqlite" else (*paths, *ON_POSTGRES),
        variables={"WORKFLOW_TEST_DATABASE": database, **variables},
        minutes=minutes,
    )


def _in_browser(django: str, csp: str = "self") -> Part:
    name = f"browser-django{django}" if csp == "self" else f"browser-django{django}-{csp}"
    variables = {"WORKFLOW_TEST_CSP": csp}
    python = DJANGOS[django][0]
    return Part(name=name, arguments=BROWSER, variables=variables, django=django, python=python)


CRASHES = ("tests/crashes/test_death_after_any_commit.py", "tests/flow/test_meetings.py")
STORMS = ("tests/flow/test_stress.py", "tests/engine/test_storms.py")
MODELS = ("tests/engine/test_flow_model.py", "tests/engine/test_plan_model.py")
THOROUGH = {"HYPOTHESIS_PROFILE": "thorough"}

SHORT = (
    Part(name="sqlite", arguments=ON_SQLITE),
    Part(name="postgres", arguments=ON_POSTGRES, variables=POSTGRES),
    Part(name="browser", arguments=BROWSER, workers=1),
)
# No part takes longer than continuous integration has for all that it draws, or it would never be drawn.
LONG = (
    often("crash-points", *CRASHES, stride=1, seeds=3),
    often("crash-points-sqlite", *CRASHES, database="sqlite", stride=1, seeds=3),
    often("plugs-pulled", "tests/crashes/test_killed_workers.py", rounds=50),
    often("outages", "tests/crashes/test_outages.py", minutes=1, rounds=20),
    often("many-runs", "tests/queue/test_many.py", runs=1_000, triggers=10_000),
    often("processes-on-sqlite", "-m", "processes", database="sqlite"),
    often("bulk-retry", "tests/queue/test_bulk_from_a_list.py", failed=10_000),
    Part(name="pages-on-postgres", arguments=("tests/admin",), variables=POSTGRES, minutes=2),
    often("joins", "tests/flow/test_joins.py", minutes=6, joins=1_000),
    often("storms", *STORMS, minutes=3, verbs=200, seeds=5),
    Part(
        name="mariadb",
        arguments=("tests/project/test_mariadb.py",),
        variables={"WORKFLOW_TEST_STORIES": "all"},
        workers=0,
        minutes=1,
    ),
    Part(name="models", arguments=MODELS, variables=THOROUGH),
    Part(name="properties", arguments=("tests/values", "tests/definition"), variables=THOROUGH, minutes=2),
    *(
        Part(name=f"django{django}-python{python}", django=django, python=python)
        for django, pythons in DJANGOS.items()
        for python in pythons
    ),
    *map(_in_browser, DJANGOS),
    _in_browser("6.1", csp="nonce"),
)
