"""docs/features.md names a test for everything that volfs does, and each is there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import volfs
from volfs.sdk.batch import BatchUpload

ROOT = Path(__file__).parents[1]
FEATURES = (ROOT / "docs" / "features.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in FEATURES.splitlines() if line[:3] == "| `"]
INTERNAL = {"is_hydrated"}


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def named() -> list[tuple[str, str]]:
    """(test module, test) of each row of the tables."""
    found = []
    for line in FEATURES.splitlines():
        if line.startswith("| ") and "`" in line:
            for module, names in re.findall(r"`([\w/]+\.py)`: ((?:`\w+` ?)+)", line):
                found += [(module, f"test_{name}") for name in re.findall(r"`(\w+)`", names)]
    return found


def test_every_test_named_there_exists() -> None:
    wanted = named()
    assert len(wanted) > 150
    modules = {module for module, _ in wanted}
    there = {(module, name) for module in modules for name in functions_in(ROOT / "tests" / module)}
    assert set(wanted) - there == set()


def test_every_row_names_a_test() -> None:
    rows = [
        line for line in FEATURES.splitlines() if line.startswith("| ") and not line.startswith(("| function", "| c"))
    ]
    assert len(rows) > 45
    assert [row for row in rows if not re.search(r"`[\w/]+\.py`: `\w+`", row)] == []


def test_every_function_and_command_has_a_row() -> None:
    functions = {name for name in dir(volfs.Volume) if not name.startswith("_")} - INTERNAL
    functions |= {f"objects.{name}" for name in ("create", "list", "delete")} - {"objects"}
    functions |= {f"batch.{name}" for name in dir(BatchUpload) if not name.startswith("_")}
    rows = " ".join(row[0] for row in ROWS)
    for name in functions - {"objects"}:
        assert f"`{name}`" in rows or f"`Volume.{name}`" in rows, name
    done = subprocess.run(
        [sys.executable, "-m", "volfs_cli.main", "--help"], capture_output=True, text=True, check=True
    )
    commands = re.findall(r"^  (\w+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) >= 20
    assert [name for name in commands if f"`{name}`" not in rows] == []


def test_links_of_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
