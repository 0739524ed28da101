"""Each program in examples/ does what its first lines say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Host

STORES = ("file", "s3")

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "crash_resumed_job": (
        r"starting at item 0\nkilled\nexit code -9 commits 0\nstarting at item 42\nexit code 0 commits 1\n"
        r"100 results, the last one: 99 squared is 9801\n"
    ),
    "fsspec_pandas": (
        r"city +degrees +note\nLima +19.1 +-\nPune +25.3 +dry\n"
        r"\['tables/weather/notes.csv', 'tables/weather/warm.parquet'\]\n"
    ),
    "train_and_checkpoint": (
        r"step 20: .*\nresuming at step 20\nstep 60: y = 3.00 x \+ 1.00\n"
        r"(commit \d: 1 file, \d+ bytes\n){6}"
    ),
    "upload_and_stream": r"40 shards, 20000 records, sum \d+, as uploaded: True\n",
}

pytestmark = pytest.mark.slow


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_the_example_runs(host: Host, name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        env={**os.environ, **host.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(SAYS[name], done.stdout), done.stdout
