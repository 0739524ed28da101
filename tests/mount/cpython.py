"""CPython's own tests of files with their temporary files on a mount. `python -m tests.mount.cpython [SUITE...]`.

Each suite runs on a mount; the tests that fail there run on a local directory, too. Nothing may fail on the mount that
passes on the disk.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Host

SUITES = (
    *("test_os", "test_posix", "test_posixpath", "test_genericpath", "test_shutil", "test_tempfile", "test_pathlib"),
    *("test_glob", "test_fnmatch", "test_filecmp", "test_fileinput", "test_linecache", "test_stat", "test_file"),
    *("test_io", "test_fileio", "test_bufio", "test_largefile", "test_univnewlines", "test_file_eintr", "test_eintr"),
    *("test_mmap", "test_fcntl", "test_select", "test_poll", "test_zipfile"),
    *("test_tarfile", "test_gzip", "test_bz2", "test_lzma", "test_zipapp", "test_zipimport", "test_zipimport_support"),
    *("test_mailbox", "test_dbm", "test_dbm_dumb", "test_dbm_gnu", "test_dbm_ndbm", "test_shelve", "test_sqlite3"),
    *("test_venv", "test_subprocess", "test_threadedtempfile", "test_import", "test_importlib"),
    *(
        "test_py_compile",
        "test_compileall",
        "test_runpy",
        "test_logging",
        "test_configparser",
        "test_netrc",
        "test_csv",
    ),
    *("test_pickle", "test_plistlib", "test_unicode_file", "test_unicode_file_functions", "test_mimetypes"),
    *("test_multiprocessing_main_handling", "test_asyncio", "test_fork1", "test_cmd_line_script", "test_httpservers"),
)
SELECTED = ("test_os", "test_shutil", "test_tempfile", "test_mmap", "test_fcntl", "test_fileio", "test_pathlib")
_PYTHONS = ("/usr/bin/python3", shutil.which("python3") or "")  # Debian's lacks some suites; another may be there
_WHOLE = "the suite itself"
_LIMIT_S = 1200
_RESOURCES = "largefile,subprocess"  # files of 2.5 GB; nothing of the network


@dataclass
class Found:
    """The tests of one suite that ran, and those of them that failed."""

    ran: int = 0
    failed: set[str] = field(default_factory=set)
    text: str = ""


def python_with(suite: str) -> str:
    """An interpreter that has the suite, "" for none."""
    for python in _PYTHONS:
        command = [python, "-c", f"import test.{suite}"]
        if os.path.exists(python) and not subprocess.run(command, capture_output=True, check=False).returncode:
            return python
    return ""


def run_suite(python: str, suite: str, where: Path, report: Path, only: Set[str] = frozenset()) -> Found:
    """Runs the suite, or *only* these of its tests, with its temporary files in *where*."""
    command = [python, "-m", "test", "-j1", "--timeout", str(_LIMIT_S), "-u", _RESOURCES, "--junit-xml", str(report)]
    for name in sorted(only):
        command += ["-m", name]
    env = {**os.environ, "TMPDIR": str(where), "PYTHONPATH": ""}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [*command, suite],
        cwd=where,
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_LIMIT_S + 60,
    )
    found = Found(text=done.stdout + done.stderr)
    assert "Total duration" in done.stdout, found.text
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            found.ran += case.get("status") == "run" and case.get("result") == "completed"
            if case.find("failure") is not None or case.find("error") is not None:
                found.failed.add(case.get("name", ""))
    if done.returncode and not found.failed:
        found.failed.add(_WHOLE)
    return found


def compare(host: Host, point: Path, suite: str) -> tuple[Found, set[str]]:
    """(what the mount said, the tests that fail there and pass on the disk)."""
    python = python_with(suite)
    if not python:
        return Found(), set()
    report = host.path / "report.xml"
    found = run_suite(python, suite, point, report)
    if not found.failed:
        return found, set()
    local = host.path / "disk"
    local.mkdir(exist_ok=True)
    only = set() if any(" " in name for name in found.failed) else found.failed  # setUpClass, or the suite itself
    return found, found.failed - run_suite(python, suite, local, report, only).failed


def main() -> None:
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-cpython-")).resolve())
    print("| suite | tests | fail on both | fail on the mount only |\n|---|---|---|---|", flush=True)
    total, worse = 0, 0
    try:
        point = host.mount()
        for suite in sys.argv[1:] or SUITES:
            found, only_there = compare(host, point, suite)
            total, worse = total + found.ran, worse + len(only_there)
            both = ", ".join(sorted(found.failed - only_there)) or "-"
            ran = str(found.ran) if python_with(suite) else "not on this machine"
            print(f"| {suite} | {ran} | {both} | {', '.join(sorted(only_there)) or '-'} |", flush=True)
            if only_there:
                print(found.text[-6000:], file=sys.stderr)
    finally:
        host.clean()
    print(f"{total} tests: {worse} fail on the mount only")
    sys.exit(worse > 0)


if __name__ == "__main__":
    main()
