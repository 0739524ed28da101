"""CPython's own tests of files, with their temporary files on a mount."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Host

SUITES = ("test_os", "test_shutil", "test_mmap", "test_pathlib", "test_tarfile")


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_cpythons_own_tests_pass_on_a_mount(host: Host, suite: str) -> None:
    python = "/usr/bin/python3"
    here = subprocess.run([python, "-c", "import test.test_os"], capture_output=True, check=False)
    if here.returncode:
        pytest.skip("needs the package libpython3-testsuite")
    point = host.mount()
    local = host.path / "local"
    local.mkdir()

    def run(where: Path) -> "subprocess.CompletedProcess[str]":
        command = [python, "-m", "test", "-j1", "--timeout", "200", suite]
        env = {**os.environ, "TMPDIR": str(where), "PYTHONPATH": ""}
        return subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False, timeout=250)

    found = run(point)
    assert "Total duration" in found.stdout, found.stdout + found.stderr
    if found.returncode:
        assert run(local).returncode, f"fails only on the mount: {found.stdout[-3000:]}{found.stderr[-2000:]}"
