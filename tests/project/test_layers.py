"""Imports point down: a module imports only from floors below its own, and pure parts stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "django_workflow"
ROOT = Path(__file__).parent.parent.parent / PACKAGE

FLOORS = (
    (
        *("exceptions", "durations", "elapsed", "process", "spelling", "status", "storable"),
        *("outcomes", "signals"),
    ),
    ("conf", "retry", "line"),
    ("references", "links"),
    ("codec", "telemetry"),
    ("params", "context"),
    ("registry", "mail", "asking"),
    ("definition", "approval_mail"),
    ("models",),
    ("dispatch", "queues", "steps"),
    ("engine",),
    ("insight",),
    ("api", "approval_form"),
    ("jobs", "worker", "checks", "views"),
    ("apps", "urls", "admin", "management", "migrations", "test"),
    ("templatetags", "pytest_plugin"),
)
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

# What decides over values is told the time and the settings; it never looks them up.
PURE = (f"{PACKAGE}.definition", f"{PACKAGE}.engine.plan")
IMPURE = (
    "django.db",
    "django.conf",
    "django.utils.timezone.now",
    f"{PACKAGE}.conf",
    "django_rq",
    "rq",
    "redis",
)
CLOCKS = {"now", "utcnow", "today"}
QUEUE_IMPORTERS = tuple(f"{PACKAGE}.{part}" for part in ("dispatch", "jobs", "line", "queues", "worker"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name, wherever it stands in its module."""

    importer: str
    target: str
    line: int


def read_modules(root: Path = ROOT) -> dict[str, str]:
    """Return the source of every module by its dotted name; a package's has a trailing dot."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1]) + "." if parts[-1] == "__init__" else ".".join(parts)
        modules[name] = path.read_text()
    return modules


def find_imports(modules: Mapping[str, str]) -> Iterator[Import]:
    """Yield every import of every module: those in functions and under TYPE_CHECKING too."""
    known = {name.rstrip(".") for name in modules}
    for name, source in modules.items():
        importer = name.rstrip(".")
        package = importer if name.endswith(".") else importer.rpartition(".")[0]
        for node in ast.walk(ast.parse(source)):
            for target in _name_targets(node, package, known):
                yield Import(importer=importer, target=target, line=getattr(node, "lineno", 0))


def _name_targets(node: ast.AST, package: str, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _resolve("." * node.level + (node.module or ""), package)
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            inside = base.partition(".")[0] == PACKAGE
            yield base if inside and submodule not in known else submodule
    elif isinstance(node, ast.Call) and node.args and _called_name(node) in {"import_module", "__import__"}:
        target = node.args[0]
        if isinstance(target, ast.Constant) and isinstance(target.value, str):
            yield _resolve(target.value, package)


def _resolve(name: str, package: str) -> str:
    stripped = name.lstrip(".")
    level = len(name) - len(stripped)
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [stripped])])


def _called_name(call: ast.Call) -> str:
    return getattr(call.func, "attr", None) or getattr(call.func, "id", "")


def is_under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def find_floor_problems(modules: Mapping[str, str]) -> list[str]:
    """Return what imports upward or sideways, and every module that has no floor."""
    parts = {name: name.split(".")[1] for name in modules if name != f"{PACKAGE}."}
    problems = [
        f"{name} has no floor: give {part!r} one in FLOORS"
        for name, part in parts.items()
        if part not in FLOOR_OF
    ]
    for each in find_imports(modules):
        if each.importer == PACKAGE or each.target.partition(".")[0] != PACKAGE:
            continue
        part, imported = each.importer.split(".")[1], each.target.partition(".")[2].partition(".")[0]
        if reason := _refuse(part, imported):
            problems.append(f"{_locate(each)} imports {each.target}: {reason}")
    return problems


def _refuse(part: str, imported: str) -> str:
    if not imported:
        return "the package's public names are for users, import from the module that has it"
    if part == imported or part not in FLOOR_OF:
        return ""
    if imported not in FLOOR_OF:
        return f"{imported} has no floor"
    floor, below = FLOOR_OF[part], FLOOR_OF[imported]
    return "" if below < floor else f"{part} is on floor {floor}, {imported} on floor {below}"


def _locate(each: Import) -> str:
    path = ROOT.parent / each.importer.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return f"{path.relative_to(ROOT.parent)}:{each.line}: {each.importer}"


def find_circle(modules: Mapping[str, str]) -> list[str]:
    """Return the modules of one import circle, or nothing."""
    graph: dict[str, set[str]] = {name.rstrip("."): set() for name in modules}
    for each in find_imports(modules):
        if each.importer != PACKAGE and each.target in graph:
            graph[each.importer].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def find_impurities(modules: Mapping[str, str]) -> list[str]:
    """Return where a pure module imports the ORM, settings, clock or queue, or asks for the time."""
    imports = [
        each for each in find_imports(modules) if _is_pure(each.importer) and is_under(each.target, IMPURE)
    ]
    problems = [f"{_locate(each)} is pure, and imports {each.target}" for each in imports]
    for name in filter(_is_pure, modules):
        calls = [node for node in ast.walk(ast.parse(modules[name])) if isinstance(node, ast.Call)]
        lines = [node.lineno for node in calls if _called_name(node) in CLOCKS]
        problems += [f"{name}:{line} is pure, and asks for the time" for line in lines]
    return problems


def _is_pure(name: str) -> bool:
    return any(name.rstrip(".").startswith(prefix) for prefix in PURE)


def find_queue_importers(modules: Mapping[str, str]) -> list[str]:
    """Return who imports the queue and should not."""
    imports = [each for each in find_imports(modules) if is_under(each.target, ("django_rq", "rq", "redis"))]
    return [
        f"{_locate(each)} imports {each.target}"
        for each in imports
        if not is_under(each.importer, QUEUE_IMPORTERS)
    ]


def find_admin_importers(modules: Mapping[str, str]) -> list[str]:
    """Return who imports the admin and should not: a project need not have it."""
    own = (f"{PACKAGE}.admin", f"{PACKAGE}.templatetags")
    admins = ("django.contrib.admin", f"{PACKAGE}.admin")
    imports = [each for each in find_imports(modules) if is_under(each.target, admins)]
    return [f"{_locate(each)} imports {each.target}" for each in imports if not is_under(each.importer, own)]


def test_modules_import_only_from_floors_below() -> None:
    assert find_floor_problems(read_modules()) == []


def test_imports_make_no_circle() -> None:
    assert find_circle(read_modules()) == []


def test_pure_modules_are_told_what_they_need() -> None:
    assert find_impurities(read_modules()) == []


def test_only_the_dispatch_imports_the_queue() -> None:
    assert find_queue_importers(read_modules()) == []


def test_only_the_admin_imports_the_admin() -> None:
    assert find_admin_importers(read_modules()) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        (
            "conf",
            "from .api import trigger",
            "conf.py:1: django_workflow.conf imports django_workflow.api: conf is on floor 1",
        ),
        ("conf", "from . import api", "imports django_workflow.api"),
        ("conf", "def read():\n    from django_workflow import api", "conf.py:2"),
        ("conf", "if TYPE_CHECKING:\n    import django_workflow.api", "imports django_workflow.api"),
        ("conf", 'import_module(".api", __package__)', "imports django_workflow.api"),
        ("conf", "from .retry import Retry", "conf is on floor 1, retry on floor 1"),
        ("conf", "from django_workflow import trigger", "public names"),
        ("engine.", "from ..api import trigger", "engine is on floor 9, api on floor 11"),
        ("engine.create", "from ..api import trigger", "engine is on floor 9, api on floor 11"),
        ("helpers", "", "'helpers' one in FLOORS"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, found: str) -> None:
    modules = {f"{PACKAGE}.": "", f"{PACKAGE}.api": "", f"{PACKAGE}.retry": "", f"{PACKAGE}.{module}": source}
    problems = find_floor_problems(modules)
    assert len(problems) == 1
    assert found in problems[0]


def test_an_import_from_below_is_fine() -> None:
    sources = {
        "": "from .api import trigger",
        "api": "from .conf import a\nfrom . import exceptions",
        "conf": "import json",
    }
    modules = {f"{PACKAGE}.{name}": source for name, source in {**sources, "exceptions": ""}.items()}
    assert find_floor_problems(modules) == []


def test_a_circle_is_found() -> None:
    sources = {"models.": "from .run import Run", "models.run": "from . import Step"}
    assert find_circle({f"{PACKAGE}.{name}": source for name, source in sources.items()})


@pytest.mark.parametrize(
    "source",
    [
        "from django.utils.timezone import now",
        "from django.utils import timezone\n\nmoment = timezone.now()",
        "from django.conf import settings",
        "from django.db import models",
        "import django.db.models",
        "from ..conf import get_settings",
        "moment = datetime.now(UTC)",
    ],
)
@pytest.mark.parametrize("module", ["definition.graph", "engine.plan", "engine.plan_joins"])
def test_an_impure_module_is_found(module: str, source: str) -> None:
    assert len(find_impurities({f"{PACKAGE}.{module}": source, f"{PACKAGE}.conf": ""})) == 1


def test_a_second_importer_of_the_queue_is_found() -> None:
    source = "import django_rq.queues"
    modules = {f"{PACKAGE}.{name}": source for name in ("dispatch", "jobs", "views")}
    assert [problem.partition(" imports")[0] for problem in find_queue_importers(modules)] == [
        "django_workflow/views.py:1: django_workflow.views"
    ]


@pytest.mark.parametrize("source", ["from django.contrib import admin", "from .admin.links import Link"])
def test_an_importer_of_the_admin_is_found(source: str) -> None:
    modules = {f"{PACKAGE}.{name}": source for name in ("views", "admin.runs")}
    modules[f"{PACKAGE}.admin.links"] = ""
    (problem,) = find_admin_importers(modules)
    assert problem.startswith("django_workflow/views.py:1")
