"""commit, reload and mounted: the mounts of a volume that this process sees."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

import volfs
from tests.conftest import Host
from tests.mount.test_promises import hold
from tests.sdk.forms import Form
from volfs.exception import ExecutionError, InvalidError, NotFoundError
from volfs.sdk import mounts

STORES = ("file", "s3")

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def here(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[volfs.Client]:
    """The client of the host's store, which is the default, too."""
    monkeypatch.setenv("VOLFS_STORE", host.url)
    monkeypatch.setenv("VOLFS_STATE", str(host.state))
    monkeypatch.setenv("VOLFS_CACHE", host.env["VOLFS_CACHE"])
    monkeypatch.delenv("VOLFS_ENVIRONMENT", raising=False)
    with volfs.Client(host.url) as client:
        yield client


few = pytest.mark.parametrize("form", ["blocking", "volfs.aio trio"], indirect=True)  # each mount costs 0.5 s


# --- commit and reload


def test_commit_publishes_and_reload_shows(form: Form, host: Host, here: volfs.Client) -> None:
    point = host.mount()
    vol = form.Volume.from_name("v", client=here)
    (point / "f").write_text("written on the mount")
    assert form(vol.listdir, "/") == []
    assert form(vol.commit) is None
    assert form.items(vol.read_file, "f") == [b"written on the mount"]
    form(vol.write_file, "g", "written without it")
    form(vol.commit)  # nothing to commit; and the view does not change
    assert sorted(os.listdir(point)) == ["f"]
    (point / "h").write_text("not committed yet")
    assert form(vol.reload) is None
    assert sorted(os.listdir(point)) == ["f", "g", "h"]
    assert [commit.number for commit in form(vol.log)] == [3, 2, 1]


@few
def test_handles_by_id_and_with_options_find_the_mount(form: Form, host: Host, here: volfs.Client) -> None:
    point = host.mount()
    by_id = form.Volume.from_id(form.Volume.from_name("v", client=here).object_id, here)
    for i, vol in enumerate((by_id, form.Volume.from_name("v").with_mount_options(sub_path="elsewhere"))):
        (point / f"f{i}").write_text("x")
        form(vol.commit)
        assert len(form(vol.listdir, "/")) == i + 1


def test_a_volume_that_is_not_mounted_here_is_told(form: Form, host: Host, here: volfs.Client) -> None:
    host.mount()
    volfs.Volume.objects.create("other", client=here)
    for vol in (
        form.Volume.from_name("other", client=here),
        form.Volume.from_name("gone", client=here),
        form.Volume.from_name("new", create_if_missing=True, client=here),
    ):
        for call in (vol.commit, vol.reload):
            with pytest.raises(RuntimeError, match="not mounted") as caught:
                form(call)
            assert "\n" not in str(caught.value)
    assert [vol.name for vol in volfs.Volume.objects.list(client=here)] == ["other", "v"]


@pytest.mark.slow
def test_another_volumes_mount_that_hangs_hangs_nobody(
    host: Host, here: volfs.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no store answers, and the mounts are asked whose they are."""
    monkeypatch.setattr(mounts, "_PATIENCE_S", 5)
    point, hung = host.mount(), host.mount("hung", volume="w")
    away = volfs.Client(host.path / "no-store")
    daemon = host.pid_of(hung)
    os.kill(daemon, signal.SIGSTOP)
    try:
        for i, client in enumerate((here, away)):
            (point / f"f{i}").write_text("x")
            volfs.Volume.from_name("v", client=client, create_if_missing=True).commit()
            with pytest.raises(RuntimeError, match=r"'gone'.* is not mounted here"):
                volfs.Volume.from_name("gone", client=client).commit()
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert not (host.path / "no-store").exists()
    assert len(volfs.Volume.from_name("v").log()) == 2


@few
def test_a_working_directory_inside_does_not_refuse_a_reload(
    form: Form, host: Host, here: volfs.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = host.mount()
    (point / "d").mkdir()
    monkeypatch.chdir(point / "d")
    form(form.Volume.from_name("v").reload)
    monkeypatch.chdir("/")


@few
def test_open_files_refuse_a_reload_and_are_named_with_pid_and_command(
    form: Form, host: Host, here: volfs.Client
) -> None:
    point = host.mount()
    (point / "d").mkdir()
    for name in ("x", "y"):
        (point / "d" / name).write_text("1")
    vol = form.Volume.from_name("v")
    form(vol.commit)
    holder = hold(point / "d" / "x")
    try:
        with open(point / "d" / "y"), pytest.raises(RuntimeError) as caught:
            form(vol.reload)
        assert str(caught.value).startswith("there are open files preventing the operation: path ")
        assert f"path d/x is open in sleep (pid {holder.pid})" in str(caught.value)
        assert "path d/y is open in " in str(caught.value) and f"(pid {os.getpid()})" in str(caught.value)
        form(vol.commit)  # open files do not stand in a commit's way
    finally:
        holder.kill()
        holder.wait()
    form(vol.reload)


@few
def test_a_failed_commit_tells_the_daemons_reason(form: Form, host: Host, here: volfs.Client) -> None:
    point = host.mount()
    vol = form.Volume.from_name("v", client=here)
    form(vol.hydrate)
    (point / "f").write_text("x")
    form(form.Volume.objects.delete, "v", client=here)
    for call in (vol.commit, vol.reload):
        with pytest.raises(RuntimeError, match="volume v was deleted") as caught:
            form(call)
        assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="'v' not found"):
        form(form.Volume.from_name("v", client=here).commit)
    assert "none: the volume was deleted" in host.run("status", point).stdout
    assert host.run("status").stdout.splitlines()[1].split()[4] == "-"
    assert (point / "f").read_text() == "x"


@few
def test_read_only_mounts_have_nothing_to_commit(form: Form, host: Host, here: volfs.Client) -> None:
    point = host.mount("m", "--read-only")
    vol = form.Volume.from_name("v")
    form(vol.write_file, "f", "x")
    form(vol.commit)
    assert os.listdir(point) == []
    form(vol.reload)
    assert os.listdir(point) == ["f"]


@few
def test_all_mounts_of_a_volume_or_the_one_under_path(form: Form, host: Host, here: volfs.Client) -> None:
    one, two = host.mount("one"), host.mount("two")
    other = host.mount("other", volume="w")
    vol = form.Volume.from_name("v")
    for point in (one, two, other):
        (point / "d").mkdir()
        (point / "d" / point.name).write_text("x")
    form(vol.commit, path=str(two / "d"))
    assert [entry.path for entry in form(vol.listdir, "/", recursive=True)] == ["d", "d/two"]
    form(vol.reload, path=one)
    assert sorted(os.listdir(one / "d")) == ["one", "two"] and os.listdir(two / "d") == ["two"]
    form(vol.commit)
    form(vol.reload)
    assert sorted(os.listdir(two / "d")) == ["one", "two"]
    assert form(form.Volume.from_name("w").listdir, "/") == []
    for path in (other, host.path, "/"):
        with pytest.raises(RuntimeError, match="is not in a mount of volume"):
            form(vol.commit, path=path)


def test_binds_of_a_mount_are_no_mounts_of_their_own(host: Host, here: volfs.Client) -> None:
    point, bound = host.mount(), host.path / "bound"
    (point / "d").mkdir()
    bound.mkdir()
    for source in (point, point / "d"):
        subprocess.run(["mount", "--bind", source, bound], check=True)
        try:
            (bound / "f").write_text("x")
            volfs.Volume.from_name("v").commit()
        finally:
            subprocess.run(["umount", bound], check=True)
    assert len(volfs.Volume.from_name("v").log()) == 2


def test_threads_and_coroutines_commit_and_reload_at_once(host: Host, here: volfs.Client) -> None:
    point = host.mount()
    vol = volfs.Volume.from_name("v")

    def work(i: int) -> None:
        (point / f"t{i}").write_text("x")
        vol.commit()
        vol.reload()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    async def coroutines() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(vol.commit.aio)
                group.start_soon(vol.reload.aio)

    for backend in ("asyncio", "trio"):
        anyio.run(coroutines, backend=backend)
    assert len(vol.listdir("/")) == 4


# --- mounted


def test_mounted_mounts_commits_and_unmounts(form: Form, host: Host, here: volfs.Client) -> None:
    vol = form.Volume.from_name("v", create_if_missing=True)
    point = host.path / "made" / "here"
    with form.block(vol.mounted(point)) as path:
        assert path == str(point) and os.path.ismount(path)
        Path(path, "f").write_text("x")
        form(vol.write_file, "g", "y")
    assert not os.path.ismount(point)
    assert [entry.path for entry in form(vol.listdir, "/")] == ["f", "g"]


def test_mounted_without_commit_and_with_an_exception_keeps_the_changes(host: Host, here: volfs.Client) -> None:
    vol = volfs.Volume.from_name("v", create_if_missing=True)
    point = host.path / "m"
    with vol.mounted(point, commit=False) as path:
        Path(path, "f").write_text("x")
    assert vol.listdir("/") == []
    with pytest.raises(KeyError, match="of the block"), vol.mounted(point) as path:
        assert os.listdir(path) == ["f"]
        Path(path, "g").write_text("x")
        raise KeyError("of the block")
    assert vol.listdir("/") == [] and not os.path.ismount(point)
    with vol.mounted(point):
        pass
    assert [entry.path for entry in vol.listdir("/")] == ["f", "g"]


def test_mounted_takes_the_handles_options(host: Host, here: volfs.Client) -> None:
    vol = volfs.Volume.from_name("v", create_if_missing=True)
    vol.write_file("d/e/f", "x")
    point = host.path / "m"

    def shown(handle: Any, **options: Any) -> tuple[list[str], bool]:
        """What the mount lists, and whether it may be written."""
        with handle.mounted(point, commit=False, **options) as path:
            return os.listdir(path), os.access(path, os.W_OK)

    both = vol.with_mount_options(read_only=True, sub_path="/d/")
    assert shown(both.with_mount_options()) == (["e"], False)
    assert shown(both.with_mount_options(sub_path="/")) == (["d"], False)
    assert shown(both.with_mount_options(read_only=False)) == (["e"], True)
    assert shown(both, read_only=False, sub_path=PurePosixPath("d/./e")) == (["f"], True)
    assert shown(vol) == (["d"], True)  # as it was


@few
def test_mounted_tells_why_not(form: Form, host: Host, here: volfs.Client) -> None:
    vol = form.Volume.from_name("v", create_if_missing=True)
    full = host.path / "full"
    full.mkdir()
    (full / "f").write_text("x")
    with pytest.raises(ExecutionError, match="full") as caught, form.block(vol.mounted(full)):
        raise AssertionError("the block runs")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    with pytest.raises(InvalidError, match=r"'\.\.'"):
        vol.mounted(host.path / "m", sub_path="../d")
    with pytest.raises(InvalidError, match="does not go with"):
        vol.read_only().mounted(host.path / "m", sub_path="d")
    with pytest.raises(NotFoundError, match="'gone'"), form.block(form.Volume.from_name("gone").mounted(full)):
        raise AssertionError("the block runs")


def test_what_read_only_made_mounts_read_only(host: Host, here: volfs.Client) -> None:
    vol = volfs.Volume.from_name("v", create_if_missing=True)
    with vol.read_only().mounted(host.path / "m") as path, pytest.raises(OSError):
        Path(path, "f").write_text("x")


# --- where only the mountpoint is visible

_INSIDE = """
import os, volfs

volume = volfs.Volume.from_name("v", create_if_missing=True)
assert os.listdir("/data") == ["before"], os.listdir("/data")
with open("/data/inside", "w") as file:
    file.write("from a container")
volume.commit()
with open("/data/inside"):
    try:
        volume.reload()
    except RuntimeError as error:
        print(error)
volume.reload()
print(sorted(os.listdir("/data")))
try:
    volfs.Volume.from_name("w").commit()
except RuntimeError as error:
    print(error)
print(os.path.exists("/var/lib/volfs"))
"""


def container(host: Host, point: Path, code: str) -> list[str]:
    """Runs a program in a container that has Python and volfs, and of the host's files only the mountpoint."""
    root = host.path / "root"
    for name in ("data", "proc", "dev", "tmp", "usr", "var/lib", str(REPOSITORY)[1:], sys.prefix[1:]):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    binds = [f"{point}:/data", "/usr:/usr:ro", f"{REPOSITORY}:{REPOSITORY}:ro", f"{sys.prefix}:{sys.prefix}:ro"]
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    done = subprocess.run(
        ["podman", "--runtime", "runc", "--cgroup-manager=cgroupfs", "run", "--rm", "--network=none", *limits]
        + [f"--volume={bind}" for bind in binds]
        + ["--rootfs", str(root), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_container_that_sees_only_the_mountpoint_commits_and_reloads(host: Host, here: volfs.Client) -> None:
    vol = volfs.Volume.from_name("v", create_if_missing=True)
    vol.write_file("before", "x")
    point = host.mount()
    vol.write_file("after", "x")
    refused, listed, missing, made = container(host, point, _INSIDE)
    assert refused.startswith("there are open files preventing the operation: path inside is open in ")
    assert listed == "['after', 'before', 'inside']"
    assert "Volume.from_name('w') is not mounted here" in missing
    assert made == "False"  # no store was made in the container's own files
    assert b"".join(vol.read_file("inside")) == b"from a container"


def test_a_renamed_volume_is_found_in_a_container_by_both_names(host: Host, here: volfs.Client) -> None:
    point = host.mount()
    volfs.Volume.rename("v", "w")
    (point / "f").write_text("x")
    code = 'import volfs; volfs.Volume.from_name("{}").commit(); print("done")'
    assert container(host, point, code.format("v")) == ["done"]
    assert container(host, point, code.format("w")) == ["done"]
    assert [entry.path for entry in volfs.Volume.from_name("w").listdir("/")] == ["f"]
