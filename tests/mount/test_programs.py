"""Real programs on a mount, compared with a local directory: before commit, in a second view, after a remount."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Host

REPOSITORY = Path(__file__).parents[2]


def sh(command: str, cwd: Path) -> None:
    done = subprocess.run(["sh", "-ec", command], cwd=cwd, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def tree(path: Path) -> dict[str, tuple[object, ...]]:
    """Each path's kind, mode, owner, links, size, mtime and content; directories without size and time."""
    found: dict[str, tuple[object, ...]] = {}
    for top, directories, files in os.walk(path):
        for name in [*directories, *files]:
            full = Path(top, name)
            stat = full.lstat()
            common = (stat.st_mode, stat.st_uid, stat.st_gid, tuple(sorted(os.listxattr(full, follow_symlinks=False))))
            if full.is_symlink():
                found[str(full.relative_to(path))] = (*common, os.readlink(full))
            elif full.is_dir():
                found[str(full.relative_to(path))] = (*common, stat.st_nlink)
            elif full.is_file():
                data = full.read_bytes()
                found[str(full.relative_to(path))] = (*common, stat.st_nlink, stat.st_mtime_ns, data)
            else:
                found[str(full.relative_to(path))] = (*common, stat.st_rdev)
    return found


def make_source(path: Path) -> None:
    """A directory with some of everything."""
    path.mkdir()
    for i in range(60):
        (path / f"dir{i % 7}").mkdir(exist_ok=True)
        (path / f"dir{i % 7}" / f"file {i}").write_bytes(os.urandom(i * 137))
    (path / "big").write_bytes(os.urandom(3_000_000))
    os.link(path / "big", path / "dir0" / "hard")
    os.symlink("../big", path / "dir1" / "soft")
    os.mkfifo(path / "fifo")
    (path / os.fsdecode(b"bytes \xff\xfe")).write_text("any bytes")
    (path / "mode").write_text("x")
    os.chown(path / "mode", 1234, 4321)
    os.chmod(path / "mode", 0o4751)
    os.setxattr(path / "mode", "user.colour", b"blue")
    os.utime(path / "mode", ns=(1, 1))
    with open(path / "sparse", "wb") as file:
        file.seek(10_000_000)
        file.write(b"end")


def copy_tar(source: Path, target: Path) -> None:
    options = "--xattrs --xattrs-include=user.*"
    sh(f"mkdir '{target}' && tar {options} -cf - . | tar {options} -xpf - -C '{target}'", source)


def copy_cp(source: Path, target: Path) -> None:
    sh(f"cp -a . '{target}'", source)


def copy_rsync(source: Path, target: Path) -> None:
    sh(f"rsync -aHXS ./ '{target}/' && rsync -aHXS --checksum --delete ./ '{target}/'", source)


def everywhere(host: Host, point: Path, check: Callable[[Path], None]) -> None:
    """Checks in the view itself, in a second one after a commit, and after a remount."""
    check(point)
    host.run("commit", point)
    check(point)
    check(host.mount("second", "--read-only"))
    host.run("umount", point)
    check(host.mount("m"))


@pytest.mark.parametrize("copy", [copy_tar, copy_cp, copy_rsync])
def test_copied_trees_are_the_same_everywhere(host: Host, copy: Callable[[Path, Path], None]) -> None:
    source = host.path / "source"
    make_source(source)
    point = host.mount()
    copy(source, point / "copy")
    wanted = tree(source)

    def check(where: Path) -> None:
        found = tree(where / "copy")
        assert found.keys() == wanted.keys()
        assert {name: found[name][:-1] for name in found if found[name] != wanted[name]} == {}

    everywhere(host, point, check)


def test_git_clones_commits_and_checks_itself(host: Host) -> None:
    origin = host.path / "origin"
    origin.mkdir()
    identity = "git config user.email a@b && git config user.name n"
    sh(
        f"git init -q -b main . && {identity} && cp -r '{REPOSITORY}/volfs' . && git add . && git commit -qm one",
        origin,
    )
    point = host.mount()
    sh(f"git clone -q '{origin}' work && cd work && {identity} && echo more >> volfs/__init__.py", point)
    sh("git commit -qam two && git checkout -q HEAD~1 && git checkout -q main && git gc -q", point / "work")

    def check(where: Path) -> None:
        copied = host.path / "copied"
        shutil.copytree(where / "work", copied, symlinks=True)
        sh('git fsck --full && test -z "$(git status --porcelain)" && git log --oneline | grep -q two', copied)
        shutil.rmtree(copied)

    everywhere(host, point, check)


def test_sqlite_with_many_small_transactions(host: Host) -> None:
    point = host.mount()
    with sqlite3.connect(point / "db") as connection:
        connection.execute("create table t (i integer primary key, data blob)")
        for i in range(200):
            connection.execute("insert into t values (?, ?)", (i, bytes([i % 256]) * 2000))
            connection.commit()
    connection.close()

    def check(where: Path) -> None:
        opened = sqlite3.connect(f"file:{where}/db?immutable=1", uri=True)
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)
        assert opened.execute("select count(*), sum(length(data)) from t").fetchone() == (200, 400_000)
        opened.close()

    everywhere(host, point, check)


@pytest.mark.slow
def test_a_virtual_environment_works_on_a_mount(host: Host) -> None:
    point = host.mount()
    sh(f"'{sys.executable}' -m venv env && env/bin/pip --version && env/bin/python -c 'import json'", point)
    everywhere(host, point, lambda where: sh("env/bin/python -c 'import pip'", where))


def test_a_container_writes_commits_and_reloads_from_inside(host: Host) -> None:
    root = host.path / "root"
    root.mkdir()
    sh(
        "mkdir -p usr/bin usr/lib usr/lib64 data proc dev tmp && ln -s usr/bin bin && ln -s usr/lib lib"
        " && ln -s usr/lib64 lib64 && cp /usr/bin/dash usr/bin/sh && cp /usr/bin/cat /usr/bin/getfattr usr/bin/",
        root,
    )
    sh(
        "for f in /usr/bin/dash /usr/bin/cat /usr/bin/getfattr; do ldd $f | grep -o '/lib[^ ]*' ; done | sort -u"
        " | while read l; do mkdir -p .$(dirname $l); cp -L $l .$l; done",
        root,
    )
    point, other = host.mount("one"), host.mount("two")
    (other / "from outside").write_text("outside\n")
    host.run("commit", other)

    def container(command: str) -> str:
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        runtime = ["--runtime", "runc", "--cgroup-manager=cgroupfs"]
        arguments = ["run", "--rm", "--network=none", *limits, "-v", f"{point}:/data", "--rootfs", str(root)]
        done = subprocess.run(
            ["podman", *runtime, *arguments, "/bin/sh", "-ec", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert '"seq":2' in container("echo inside > /data/new; getfattr --only-values -n user.volfs.commit /data")
    container("getfattr --only-values -n user.volfs.reload /data")
    assert container("cat '/data/from outside' /data/new") == "outside\ninside\n"
    host.run("reload", other)
    assert (other / "new").read_text() == "inside\n"
