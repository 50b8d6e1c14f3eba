"""The workflow files that installed apps ship: found, read and judged without a database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.apps import apps

from ..definition.reading import SLUG
from ..definition.spec import Problem
from ..definition.text import Format, read_text
from ..exceptions import DefinitionError
from .judge import check_definition

FOLDER = "workflows"
FORMATS: Mapping[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
LONGEST_SOURCE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedFile:
    """A file as it was read.

    ``source`` is ``<app label>/workflows/<file name>``, as the workflow's row keeps it. ``troubles`` say why
    there is no ``data``, or what is wrong with the keys that only files have.
    """

    source: str
    data: Mapping[str, Any]
    digest: str = ""
    troubles: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """The workflow's name; empty where none could be read."""
        name = self.data.get("name")
        return name if isinstance(name, str) and SLUG.fullmatch(name) else ""

    @property
    def is_editable(self) -> bool:
        """Whether staff own the workflow once it is there."""
        return self.data.get("editable") is True

    @property
    def is_enabled(self) -> bool:
        """Whether the workflow is switched on when it is created."""
        return self.data.get("enabled") is not False


def read_shipped_files() -> list[ShippedFile]:
    """Return every file of every installed app, by source; ``troubles`` say what could not be read."""
    return [_read_unchanged(source, path, *_stamp(path)) for source, path in sorted(_find())]


def find_problems(file: ShippedFile) -> list[Problem]:
    """Return everything wrong with a file, errors and warnings."""
    if not file.data:
        return list(file.troubles)
    _spec, problems = check_definition(file.data)
    return [*file.troubles, *problems]


def shared_names(files: Sequence[ShippedFile]) -> dict[str, list[str]]:
    """Return each name that several files have, with their sources."""
    sources: dict[str, list[str]] = {}
    for file in files:
        if file.name:
            sources.setdefault(file.name, []).append(file.source)
    return {name: many for name, many in sources.items() if len(many) > 1}


def _find() -> Iterator[tuple[str, Path]]:
    for app in apps.get_app_configs():
        folder = Path(app.path) / FOLDER
        if folder.is_dir():
            for path in folder.iterdir():
                if path.suffix in FORMATS and path.is_file():
                    yield f"{app.label}/{FOLDER}/{path.name}", path


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


# Every flush of a test database sends post_migrate, which reads all files: only changed ones are parsed.
@lru_cache(maxsize=1024)
def _read_unchanged(source: str, path: Path, _modified: int, _size: int) -> ShippedFile:
    try:
        data = read_text(path.read_text(encoding="utf-8-sig"), format=FORMATS[path.suffix], source=source)
    except DefinitionError as error:
        return ShippedFile(source=source, data={}, troubles=tuple(map(_as_problem, error.problems)))
    except (OSError, UnicodeDecodeError) as error:
        return ShippedFile(source=source, data={}, troubles=(Problem(f"it cannot be read: {error}"),))
    if not isinstance(data, Mapping) or not data:
        return ShippedFile(
            source=source, data={}, troubles=(Problem("a mapping with name and steps is needed"),)
        )
    return ShippedFile(source=source, data=data, digest=_digest(data), troubles=tuple(_misused(source, data)))


def _as_problem(problem: object) -> Problem:
    return problem if isinstance(problem, Problem) else Problem(str(problem))


def _digest(data: Mapping[str, Any]) -> str:
    canonical = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _misused(source: str, data: Mapping[str, Any]) -> Iterator[Problem]:
    for key in ("enabled", "editable"):
        if not isinstance(data.get(key, True), bool):
            yield Problem(f"true or false is needed, not {data[key]!r:.60}", field=key)
    if len(source) > LONGEST_SOURCE:
        yield Problem(f"the file's name is too long: {source!r} has over {LONGEST_SOURCE} characters")
