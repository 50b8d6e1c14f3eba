"""The worker processes: started together, ended whatever happens, their output shown when it matters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .contestant import Contestant
from .marks import new_tags, wait_for

STOP_SECONDS = 5
LAST_CHARACTERS = 1500


@contextmanager
def at_work(contestants: Sequence[Contestant]) -> Iterator[None]:
    """Run the workers of ``contestants`` while the block runs, from when each has ended a first run.

    All are up at once: those whose turn it is not wait for work in Redis.
    """
    commands = {each.worker: each for each in contestants}
    with _log_folder() as folder, ExitStack() as stack:
        logs = [folder / f"{place}.log" for place in range(len(commands))]
        for log, contestant in zip(logs, commands.values(), strict=True):
            stack.enter_context(_running(contestant, log))
        try:
            for contestant in contestants:
                (tag,) = new_tags(1)
                contestant.start(tag, 1)
                wait_for([tag])
            yield
        except Exception as error:
            for log, contestant in zip(logs, commands.values(), strict=True):
                said = log.read_text(errors="replace")[-LAST_CHARACTERS:]
                error.add_note(f"--- the worker of {contestant.name} said:\n{said}")
            raise


@contextmanager
def _log_folder() -> Iterator[Path]:
    # Named for the run that it belongs to: several people may measure on one machine.
    folder = Path(os.environ["WORKFLOW_TEST_FILES"] + "-workers")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(contestant: Contestant, log: Path) -> Iterator[None]:
    environment = dict(os.environ)
    if not contestant.needs_django:
        del environment["DJANGO_SETTINGS_MODULE"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            contestant.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its forks end with it
        )
    try:
        yield
    finally:
        _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(STOP_SECONDS)
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
