"""The uses that modal's reference of `Volume` shows, as programs that import volfs instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Host

STORES = ("file", "s3")

PROGRAMS = Path(__file__).with_name("modal_examples")
SAYS = {
    "awaited": "done\n",
    "by_id": "done\n",
    "by_name": "done\n",
    "files": "done\n",
    "mounted": "hello\n",
    "options": "Read-only file system\n['data']\n",
}

pytestmark = pytest.mark.slow


def test_every_program_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("[!_]*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_the_program_runs(host: Host, name: str) -> None:
    here = host.path / "work"
    here.mkdir()
    program = PROGRAMS / f"{name}.py"
    assert "import volfs as modal" in program.read_text() or "import aio as modal" in program.read_text()
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=here,
        env={**os.environ, **host.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == (SAYS[name], "", 0)
    assert host.mounts() == []
