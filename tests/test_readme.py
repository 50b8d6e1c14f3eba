"""README.md is true: its blocks, from top to bottom, make a new project, and print what the page says.

A block that begins with a comment ``# path`` is a file of the project, ``# path, at the end`` is added to it.
Other Python runs in the project; ``shell`` too, but for pip. A ``text`` block right after is what was
printed; ``…`` stands for anything in a line, and alone in a line for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
KINDS = {"python", "yaml", "shell", "text"}

pytestmark = pytest.mark.one_database

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_FILE = re.compile(r"# ([\w-]+(?:/[\w.-]+)+)(, at the end)?\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
_SETUP = "import django; django.setup()\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, and the line it begins at."""

    kind: str
    text: str
    line: int


def read_blocks(page: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(page):
        yield Block(kind=match[1], text=match[2], line=page.count("\n", 0, match.start()) + 1)


class Project:
    """The project that a reader has made up to some line of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def follow(self, block: Block) -> str:
        """Do what a block says, and return what it prints."""
        if block.kind == "shell":
            lines = [line for line in block.text.splitlines() if not line.startswith("pip ")]
            return self.run(block, "bash", "-ec", "\n".join(lines))
        if match := _FILE.match(block.text):
            self.write(match[1], block.text, is_added=match[2] is not None)
            return ""
        assert block.kind == "python", f"line {block.line}: what is this {block.kind} for?"
        return self.run(block, "python", "-c", _SETUP + block.text)

    def write(self, name: str, text: str, *, is_added: bool) -> None:
        path = self.folder / name
        assert not is_added or path.exists(), f"{name} is not there yet"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.read_text()}\n{text}" if is_added else text)

    def run(self, block: Block, *command: str) -> str:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {
            **os.environ,
            "PATH": programs,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
        }
        if "startproject" in block.text:
            del environment["DJANGO_SETTINGS_MODULE"]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"README.md, line {block.line}:\n{done.stdout}{done.stderr}"
        return done.stdout


def assert_printed(shown: Block, printed: str) -> None:
    pattern = "".join(map(_line_pattern, shown.text.splitlines()))
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    assert re.fullmatch(pattern, lines), f"README.md, line {shown.line}, in truth:\n{printed}"


def _line_pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*"
    return "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", line)) + r"\n"


def test_every_block_does_and_prints_what_the_page_says(tmp_path: Path) -> None:
    project, printed = Project(tmp_path), ""
    blocks = list(read_blocks(README.read_text()))
    assert {block.kind for block in blocks} == KINDS
    for block in blocks:
        if block.kind != "text":
            printed = project.follow(block)
        elif printed:
            assert_printed(block, printed)


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
