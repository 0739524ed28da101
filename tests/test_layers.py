"""Who may import whom, and what must not be imported where it costs a start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "exception": 0,
    "format": 1,
    "tree": 2,
    "store": 2,
    "view": 3,
    "control": 4,
    "fuse": 5,
    "sdk": 5,
    "types": 1,
    "aio": 6,
}
MODULES = sorted((ROOT / "volfs").rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether at the top level) of each import of volfs."""
    found: list[tuple[str, bool]] = []
    module = ast.parse(path.read_text())
    top = set(module.body)
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("volfs"):
            found.append((node.module, node in top))
        elif isinstance(node, ast.Import):
            found += [(alias.name, node in top) for alias in node.names if alias.name.startswith("volfs")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    mine = parts[1] if len(parts) > 1 else "__init__"
    if mine == "__init__":
        return  # the package's own names: imported when they are first used
    for module, at_top in imports(path):
        if module == "volfs":
            continue  # the version, or names of packages
        theirs = module.split(".")[1]
        assert at_top, f"{module} is imported inside a function"
        assert theirs == mine or LAYERS[theirs] < LAYERS[mine], f"{mine} must not import {theirs}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450


@pytest.mark.parametrize("command", ["status", "commit", "reload"])
def test_commands_that_ask_a_daemon_start_fast(command: str) -> None:
    code = (
        f"import sys, volfs_cli.main as m; m.volfs.get_command(None, {command!r});"
        " print([n for n in ('trio', 'pyfuse3', 'obstore', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_systemd_accepts_the_unit() -> None:
    unit = ROOT / "systemd" / "volfs@.service"
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "volfs@" not in done.stderr, done.stderr
    assert not [line for line in unit.read_text().splitlines() if line.startswith(("Private", "Protect", "ReadWrite"))]
