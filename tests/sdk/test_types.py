"""A strict type checker accepts what users write, and finds their mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import volfs

HERE = Path(__file__).parent


def mypy(path: Path, cwd: Path) -> list[str]:
    """The errors of `mypy --strict` over one program, as another project's checker sees volfs: by its py.typed."""
    cache = HERE.parents[1] / ".mypy_cache" / "users"
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--config-file=", f"--cache-dir={cache}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(path)],
        cwd=cwd,
        env={**os.environ, "MYPYPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_the_marker_of_a_typed_package_is_shipped() -> None:
    assert (Path(volfs.__file__).parent / "py.typed").exists()
    assert 'volfs = ["py.typed"]' in (HERE.parents[1] / "pyproject.toml").read_text()


def test_a_users_program_is_accepted(tmp_path: Path) -> None:
    assert mypy(HERE / "typed_program.py", tmp_path) == []


WRONG = {
    "vol.listdir(7)": "arg-type",
    "vol.listdir('/', True)": "call-arg",
    "vol.listdir()": "call-arg",
    "vol.listdir('/').path": "attr-defined",
    "vol.listdir.nope('/')": "attr-defined",
    "vol.copy_files('a', 'b', recursive='yes')": "arg-type",
    "for x in vol.iterdir.aio('/'): pass": "attr-defined",
    "vol.batch_upload().put_file(7, '/f')": "arg-type",
    "volfs.Volume.from_name('v', create=True)": "call-arg",
    "volfs.Volume.objects.list(created_before=7)": "arg-type",
    "with volfs.Volume.ephemeral() as e: e.listdr('/')": "attr-defined",
    "async def f() -> None:\n    await vol.listdir('/')": "misc",
    "async def f() -> str:\n    return await vol.listdir.aio('/')": "return-value",
    "async def f() -> None:\n    async with volfs.Volume.ephemeral() as e:\n        e.listdir('/')[0]": "index",
    "async def f() -> None:\n    for x in volfs.aio.Volume.from_name('v').iterdir('/'): pass": "attr-defined",
    "vol.name.upper()": "union-attr",
}


def test_mistakes_are_found(tmp_path: Path) -> None:
    """Each in a program of its own lines, all checked in one run."""
    lines = ["import volfs, volfs.aio", "vol = volfs.Volume.from_name('v')"]
    where = {}
    for wrong in WRONG:
        where[wrong] = range(len(lines) + 1, len(lines) + 1 + len(wrong.splitlines()))
        lines += wrong.replace("def f()", f"def f{len(lines)}()").splitlines()
    (tmp_path / "wrong.py").write_text("\n".join(lines) + "\n")
    errors = [line for line in mypy(tmp_path / "wrong.py", tmp_path) if ": error: " in line]
    found = {
        wrong: {line.rsplit("[", 1)[1].rstrip("]") for line in errors if int(line.split(":")[1]) in where[wrong]}
        for wrong in WRONG
    }
    assert found == {wrong: {code} for wrong, code in WRONG.items()}


@pytest.mark.parametrize("name", volfs.__all__)
def test_what_is_exported_is_there(name: str) -> None:
    assert getattr(volfs, name) is not None and name in volfs.__all__
