"""README.md is true: the blocks of a chapter, in the project of the first one, do and print what it says.

A block that begins with a comment ``# path`` is a file of the project, ``# path, at the end`` is added to it.
Other Python runs in the project; ``shell`` too, but for pip. A ``text`` block right after is what was
printed; ``…`` stands for anything in a line, and alone in a line for any lines. An ``ini`` block is a unit of
systemd: its command is started in the project, and must end well at SIGTERM. A chapter that mentions
REDIS_URL needs a Redis server.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from tests.servers.private_server import Missing, is_ci, own_folder
from tests.servers.redis_server import redis_server

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
KINDS = {"python", "yaml", "shell", "text", "ini"}
REDIS_URL = "REDIS_URL"
# What workers and clocks print when they have started, and how long that may take in seconds.
STARTED = re.compile("Listening|ticks")
PATIENCE = 30

pytestmark = pytest.mark.one_database

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_FILE = re.compile(r"# ([\w-]+(?:/[\w.-]+)+)(, at the end)?\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
_CHAPTER = re.compile("^## (.*)$", re.MULTILINE)
FIRST = "A first workflow"
# Runs several blocks in one process, each by itself, with a line between what they print.
BETWEEN = "-- the next block --"
_RUN = f"""
import json, sys
import django
django.setup()
for line, text in json.loads(sys.argv[1]):
    exec(compile(chr(10) * line + text, "README.md", "exec"), {{"__name__": "__main__"}})
    print({BETWEEN!r})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, and the line it begins at."""

    kind: str
    text: str
    line: int


def read_blocks(page: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(page):
        yield Block(kind=match[1], text=match[2], line=page.count("\n", 0, match.start()) + 1)


def read_chapters(page: str) -> dict[str, list[Block]]:
    """Return the blocks of each chapter that has some."""
    titles = [(page.count("\n", 0, match.start()), match[1]) for match in _CHAPTER.finditer(page)]
    chapters: dict[str, list[Block]] = {}
    for block in read_blocks(page):
        title = [title for line, title in titles if line < block.line][-1]
        chapters.setdefault(title, []).append(block)
    return chapters


def is_script(block: Block) -> bool:
    """Whether a block is Python that runs in the project."""
    return block.kind == "python" and not _FILE.match(block.text)


class Project:
    """The project that a reader has made up to some line of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis_url = ""

    def follow(self, block: Block) -> str:
        """Do what a block says, and return what it prints."""
        if block.kind == "shell":
            lines = [line for line in block.text.splitlines() if not line.startswith("pip ")]
            return self.run(block, "bash", "-ec", "\n".join(lines))
        if block.kind == "ini":
            self.try_unit(block)
            return ""
        if match := _FILE.match(block.text):
            self.write(match[1], block.text, is_added=match[2] is not None)
            return ""
        raise AssertionError(f"line {block.line}: what is this {block.kind} for?")

    def run_scripts(self, blocks: list[Block]) -> list[str]:
        """Run Python that stands together in one process, and return what each block prints."""
        scripts = json.dumps([(block.line, block.text) for block in blocks])
        return self.run(blocks[0], "python", "-c", _RUN, scripts).split(f"{BETWEEN}\n")[:-1]

    def write(self, name: str, text: str, *, is_added: bool) -> None:
        path = self.folder / name
        assert not is_added or path.exists(), f"{name} is not there yet"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.read_text()}\n{text}" if is_added else text)

    def run(self, block: Block, *command: str) -> str:
        environment = self.environment()
        if "startproject" in block.text:
            del environment["DJANGO_SETTINGS_MODULE"]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"README.md, line {block.line}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            REDIS_URL: self.redis_url,
        }

    def try_unit(self, block: Block) -> None:
        """Start the command of a unit and end it as systemd does."""
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(block.text)
        assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
        service = unit["Service"]
        program, *arguments = shlex.split(service["ExecStart"])
        assert program.startswith(f"{service['WorkingDirectory']}/.venv/bin/")
        log = self.folder / "unit.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [Path(sys.executable).with_name(Path(program).name), *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            until = time.monotonic() + PATIENCE
            while not STARTED.search(log.read_text()) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            assert STARTED.search(log.read_text()), f"README.md, line {block.line}:\n{log.read_text()}"
            process.terminate()
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


def assert_printed(shown: Block, printed: str) -> None:
    pattern = "".join(map(_line_pattern, shown.text.splitlines()))
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    assert re.fullmatch(pattern, lines), f"README.md, line {shown.line}, in truth:\n{printed}"


def _line_pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*"
    return "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", line)) + r"\n"


@pytest.fixture
def redis_url() -> Iterator[str | None]:
    """Return where a Redis of its own is; None where no server is installed."""
    try:
        with own_folder(None) as folder, redis_server(folder / "redis.sock") as server:
            yield f"unix://{server.socket}?db=0"
    except Missing as reason:
        if is_ci():
            pytest.fail(str(reason))
        yield None


CHAPTERS = read_chapters(README.read_text())


def follow(project: Project, blocks: list[Block]) -> None:
    """Do what the blocks say, one after the other, and compare what they print with the text right after."""
    acts = [(block, after) for block, after in pairwise([*blocks, None]) if block and block.kind != "text"]
    for are_scripts, group in groupby(acts, key=lambda act: is_script(act[0])):
        done = list(group)
        doing = [block for block, _after in done]
        printed = project.run_scripts(doing) if are_scripts else map(project.follow, doing)
        for (_block, after), text in zip(done, printed, strict=True):
            if text and after is not None and after.kind == "text":
                assert_printed(after, text)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project that the first chapter makes."""
    folder = tmp_path_factory.mktemp("first")
    follow(Project(folder), CHAPTERS[FIRST])
    return folder


TITLES = list(CHAPTERS)


@pytest.mark.parametrize("title", TITLES[TITLES.index(FIRST) + 1 :])
def test_a_chapter_needs_the_first_one_only(
    title: str, first: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(first, project.folder)
    if any(REDIS_URL in block.text for block in CHAPTERS[title]):
        project.redis_url = request.getfixturevalue("redis_url")
        if not project.redis_url:
            pytest.skip("this chapter needs a Redis server")
    follow(project, CHAPTERS[title])


def test_every_kind_of_block_is_known() -> None:
    assert {block.kind for blocks in CHAPTERS.values() for block in blocks} == KINDS


def test_every_link_leads_to_a_file() -> None:
    targets = _LINK.findall(README.read_text())
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_no_line_is_lost_between_fences() -> None:
    page = README.read_text()
    assert len(re.findall("^```", page, re.MULTILINE)) == 2 * len(list(read_blocks(page)))


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("a … c\n", "a b c\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd", True),
        ("a\nb\n", "a  \nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_what_is_printed_is_compared(shown: str, printed: str, fits: bool) -> None:
    block = Block(kind="text", text=shown, line=1)
    if fits:
        assert_printed(block, printed)
    else:
        with pytest.raises(AssertionError):
            assert_printed(block, printed)
