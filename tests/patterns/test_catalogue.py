"""No pattern is left out: each of the twenty is in the list of the package, and has a test of its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import patterns

FILES = sorted(Path(__file__).parent.glob("test_*.py"))
TESTS = {path.name: path.read_text() for path in FILES}
LISTED = dict(re.findall(r"^  (\d+)\. ([^:]+):", patterns.__doc__ or "", re.MULTILINE))


def test_the_list_has_the_twenty_patterns_in_order() -> None:
    assert list(LISTED) == [str(number) for number in range(1, 21)]


@pytest.mark.parametrize(("number", "name"), LISTED.items())
def test_pattern_has_a_test_by_its_number_and_name(number: str, name: str) -> None:
    words = re.sub(r"\W+", "_", name.lower())
    wanted = f"def test_wcp_{int(number):02}_{words}"
    assert [file for file, text in TESTS.items() if wanted in text] == [_file_of(number)]


def _file_of(number: str) -> str:
    """Return the file that the list names above the pattern."""
    before = (patterns.__doc__ or "").split(f"\n  {number}. ")[0]
    return re.findall(r"``(test_\w+\.py)``", before)[-1]
