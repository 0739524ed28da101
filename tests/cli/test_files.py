"""ls, rm, cp, mv, cat, du, completion, and the commands on volumes: what a shell sees of them."""

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import VOLFS, Host
from volfs import Client, Volume


def volume(host: Host, **files: bytes) -> Volume:
    """Volume "v" with files; "__" in their names stands for "/"."""
    found = Volume.from_name("v", create_if_missing=True, client=Client(host.url))
    for name, data in files.items():
        found.write_file(name.replace("__", "/"), data)
    found.hydrate()
    return found


def on_terminal(host: Host, *arguments: object, answer: bytes = b"") -> tuple[int, str]:
    """Runs volfs with a terminal for all three streams; returns its exit code and what stood there."""
    ours, theirs = pty.openpty()
    env = {**host.env, "COLUMNS": "120", "TERM": "xterm"}
    child = subprocess.Popen(
        [str(VOLFS), *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, answer)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # EIO: the last one has closed it
            break
        shown += data
    os.close(ours)
    return child.wait(), shown.decode()


def shell(host: Host, line: str) -> subprocess.CompletedProcess[str]:
    env = {**host.env, "PATH": f"{VOLFS.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", line], env=env, cwd=host.path, capture_output=True, text=True, check=False, timeout=60
    )


# --- ls


def test_ls_in_a_pipe_prints_one_path_a_line_sorted_and_from_the_root(host: Host) -> None:
    volume(host, d__x=b"1", d__e__y=b"2", a=b"3")
    assert host.run("ls", "v").stdout == "a\nd\n"
    assert host.run("ls", "v", "/d/").stdout == "d/e\nd/x\n"
    assert host.run("ls", "-r", "v").stdout == "a\nd\nd/e\nd/e/y\nd/x\n"
    assert host.run("ls", "v", "d/x").stdout == "d/x\n"
    assert host.run("ls", "v", "no", check=4).stderr == "volfs: no no in volume v\n"
    assert host.run("ls", "w", check=4).stderr.startswith("volfs: Volume 'w' not found in environment 'main' of")


def test_ls_tells_every_type_in_json_and_where_links_lead(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    point = host.mount()
    (point / "file").write_bytes(b"12345")
    os.utime(point / "file", (0, 1700000000))
    (point / "file").chmod(0o640)
    (point / "dir").mkdir()
    (point / "link").symlink_to("file")
    os.mkfifo(point / "fifo")
    os.mknod(point / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with monkeypatch.context() as within, socket.socket(socket.AF_UNIX) as one:
        within.chdir(point)  # a socket's path is short
        one.bind("socket")
    host.run("commit", point)
    found = {entry["filename"]: entry for entry in json.loads(host.run("ls", "v", "--json").stdout)}
    assert {name: entry["type"] for name, entry in found.items()} == {
        name: name for name in ("file", "dir", "link", "fifo", "socket", "device")
    }
    assert set(found["file"]) == {"filename", "type", "created_modified", "size"}
    assert found["file"]["size"] == 5
    assert datetime.fromisoformat(found["file"]["created_modified"]).timestamp() == 1700000000
    lines = host.run("ls", "-l", "v").stdout.splitlines()
    assert [line for line in lines if line.startswith("lrwxrwxrwx") and line.endswith("  link -> file")]
    assert [line for line in lines if re.fullmatch(r"-rw-r----- +5  2023-11-1\d \d\d:13:20  file", line)]
    host.run("create", "empty")
    assert json.loads(host.run("ls", "empty", "--json").stdout) == []


def test_ls_gives_programs_the_bytes_of_a_name_and_terminals_no_commands(host: Host) -> None:
    volume(host)
    (host.path / "in").mkdir()
    name = b"\xff\x1b]0;owned\x07\n"
    Path(os.fsdecode(os.path.join(os.fsencode(host.path), b"in", name))).write_text("x")
    host.run("put", "v", host.path / "in", "/.")
    done = subprocess.run([VOLFS, "ls", "v"], env=host.env, capture_output=True, check=True)
    assert done.stdout == name + b"\n"
    assert json.loads(host.run("ls", "v", "--json").stdout)[0]["filename"] == os.fsdecode(name)
    code, shown = on_terminal(host, "ls", "v")
    assert code == 0 and "FILENAME" in shown and "file" in shown
    assert r"\udcff\x1b]0;owned\x07\n" in shown and "\x1b" not in shown
    error = host.run("cat", "v", "\x1b[2J", check=4).stderr
    assert error == "volfs: no \\x1b[2J in volume v\n"


def test_a_reader_that_leaves_ends_a_command_silently(host: Host) -> None:
    many = volume(host, big=os.urandom(1 << 20))
    with many.batch_upload() as batch:
        for i in range(2000):
            batch.put_file(host.path / "store" / "volfs.json", f"{'n' * 80}{i}")
    for command in ("ls -r v", "ls --json v", "cat v big", "get v big -"):
        done = shell(host, f"volfs {command} | head -c 1 | wc -c; echo ${{PIPESTATUS[0]}}")
        assert done.stdout.split() == ["1", "1"], command
        assert done.stderr == ""


# --- rm, cp, mv, cat


def test_rm_removes_all_or_nothing_in_one_commit(host: Host) -> None:
    v = volume(host, a=b"1", b=b"2", d__x=b"3")
    before = len(v.log())
    assert "no nope in volume v" in host.run("rm", "v", "a", "nope", check=4).stderr
    assert host.run("rm", "v", "a", "d", check=1).stderr == (
        "volfs: directory d of volume v is not empty; remove it with --recursive\n"
    )
    assert len(v.log()) == before
    host.run("rm", "v", "a", "d", "-r")
    assert [entry.path for entry in v.listdir("/")] == ["b"]
    assert len(v.log()) == before + 1


def test_cp_and_mv_take_many_sources_into_a_directory(host: Host) -> None:
    v = volume(host, a=b"1", b=b"2", d__x=b"3")
    host.run("cp", "v", "a", "b", "d")
    assert sorted(e.path for e in v.listdir("d")) == ["d/a", "d/b", "d/x"]
    assert "copy it with --recursive" in host.run("cp", "v", "d", "e", check=1).stderr
    host.run("cp", "-r", "v", "d", "e")
    before = len(v.log())
    host.run("mv", "v", "a", "b", "e/x", "d/")
    assert len(v.log()) == before + 1
    assert sorted(e.path for e in v.listdir("/", recursive=True)) == ["d", "d/a", "d/b", "d/x", "e", "e/a", "e/b"]
    host.run("mv", "v", "e", "f")
    assert v.exists("f/a") and not v.exists("e")
    assert "f is not a directory" not in host.run("mv", "v", "d/a", "d/b", "f").stderr
    assert host.run("mv", "v", "d/x", "f/a", "new", check=1).stderr == "volfs: new is not a directory of volume v\n"
    host.run("mv", "v", "nope", "f", check=4)
    assert "SRC... DST" in host.run("cp", "v", "a", check=2).stderr
    assert v.exists("d/x")


def test_cat_writes_files_one_after_the_other(host: Host) -> None:
    volume(host, a=b"one\n", b=b"two\n")
    assert host.run("cat", "v", "b", "a").stdout == "two\none\n"
    assert host.run("cat", "v", "/", check=1).stderr == "volfs: / is a directory of volume v\n"
    assert host.run("cat", "v", "a", "c", check=4).stdout == "one\n"


# --- du


def test_du_tells_what_directories_hold_and_counts_files_with_several_names_once(host: Host) -> None:
    point = host.mount()
    (point / "a" / "b").mkdir(parents=True)
    (point / "a" / "b" / "x").write_bytes(b"x" * 100_000)
    (point / "c").mkdir()
    (point / "c" / "sparse").write_bytes(b"")
    os.truncate(point / "c" / "sparse", 1 << 30)
    host.run("commit", point)
    rows = [line.split() for line in host.run("du", "v").stdout.splitlines()]
    assert rows == [["100000", "1", "a"], ["0", "1", "c"], ["100000", "2", "/"]]
    assert host.run("du", "-sh", "v", "a").stdout.split() == ["97.7", "KiB", "1", "a"]
    assert json.loads(host.run("du", "v", "a", "--json").stdout) == [
        {"filename": "a/b", "bytes": 100_000, "files": 1, "entries": 1},
        {"filename": "a", "bytes": 100_000, "files": 1, "entries": 2},
    ]
    (point / "a" / "one").write_bytes(b"y" * 1000)
    os.link(point / "a" / "one", point / "c" / "two")
    host.run("commit", point)
    assert host.run("du", "-s", "v").stdout.split() == ["101000", "4", "/"]
    told = host.run("du", "-s", "v", "a")
    assert told.stdout.split() == ["100000", "2", "a"]
    assert told.stderr == "not in these sums: 1 file with several names (1000 B); `volfs du -s v` counts them\n"


# --- volumes


def test_delete_and_rename_ask_on_a_terminal_and_refuse_without_one(host: Host) -> None:
    volume(host, a=b"1")
    for command in (("delete", "v"), ("rename", "v", "w")):
        assert "there is no terminal to ask on" in host.run(*command, check=2).stderr
        code, shown = on_terminal(host, *command, answer=b"n\n")
        assert code == 1 and "[y/N]" in shown
    assert json.loads(host.run("list", "--json").stdout)[0]["name"] == "v"
    assert on_terminal(host, "rename", "v", "w", answer=b"y\n")[0] == 0
    host.run("rename", "-y", "w", "x")
    assert on_terminal(host, "delete", "x", answer=b"y\n")[0] == 0
    host.run("delete", "-y", "x", check=4)
    host.run("delete", "-y", "--allow-missing", "x")


def test_create_list_and_info_tell_version_and_creator_in_json(host: Host) -> None:
    assert json.loads(host.run("list", "--json").stdout) == []
    assert not host.store.exists(), "a list makes no store"
    host.run("create", "v", "--version", "3", check=2)
    made = json.loads(host.run("create", "v", "--version", "1", "--json", "-e", "test").stdout)
    assert (made["name"], made["version"], made["environment"], made["created_by"]) == ("v", 1, "test", "root")
    assert json.loads(host.run("list", "-e", "test", "--json").stdout) == [{**made, "damaged": False}]
    assert json.loads(host.run("list", "--json").stdout) == []
    info = json.loads(host.run("info", "v", "-e", "test", "--json").stdout)
    assert made.items() <= info.items()
    host.run("ls", "-e", "test", made["id"])


# --- completion


def test_bash_completes_commands_volumes_and_paths(host: Host) -> None:
    volume(host, d__x=b"1", d__y=b"2", dog=b"3")
    host.run("create", "-e", "test", "other")

    def complete(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in ("volfs", *words))
        code = (
            f'eval "$(volfs completion bash)"; complete -p volfs >&2; COMP_WORDS=({line}); COMP_CWORD={len(words)};'
            ' _volfs_completion volfs; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = shell(host, code)
        assert "_volfs_completion_setup" in done.stderr or "complete -o nosort -F _volfs_completion" in done.stderr
        return done.stdout.split()

    assert complete("re") == ["rename", "reload"]
    assert complete("ls", "") == ["v"]
    assert complete("ls", "-e", "test", "") == ["other"]
    assert complete("cat", "v", "d") == ["d/", "dog"]
    assert complete("cat", "v", "d/") == ["d/x", "d/y"]
    assert complete("cat", "nope", "d/") == []


@pytest.mark.parametrize(
    ("shell_name", "variables", "answer"),
    [
        ("zsh", {"COMP_WORDS": "volfs du v d/", "COMP_CWORD": "3"}, "plain\nd/x\n_\n"),
        ("fish", {"COMP_WORDS": "volfs du v d/", "COMP_CWORD": "d/"}, "plain,d/x\n"),
    ],
)
def test_zsh_and_fish_are_answered_in_their_form(
    host: Host, shell_name: str, variables: dict[str, str], answer: str
) -> None:
    volume(host, d__x=b"1")
    env = {**host.env, **variables, "_VOLFS_COMPLETE": f"{shell_name}_complete"}
    done = subprocess.run([VOLFS], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout.replace("\n\n", "\n"), done.stderr) == (answer, "")
    script = host.run("completion", shell_name).stdout
    assert "_VOLFS_COMPLETE" in script and "volfs" in script


# --- Ctrl-C


def test_ctrl_c_ends_with_130_and_no_traceback(host: Host) -> None:
    v = volume(host, big=os.urandom(1 << 20))
    before = len(v.log())
    reading = subprocess.Popen(
        [VOLFS, "cat", "v", "big"], env=host.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert reading.stdout is not None
    reading.stdout.read(1)  # it goes on, into a pipe that nobody reads any more
    reading.send_signal(signal.SIGINT)
    assert reading.wait(30) == 130
    assert reading.stderr is not None and reading.stderr.read().strip() == b""
    reading.stdout.close()
    reading.stderr.close()
    writing = subprocess.Popen(
        [VOLFS, "put", "v", "-", "new"], env=host.env, stdin=subprocess.PIPE, stdout=-1, stderr=subprocess.PIPE
    )
    assert writing.stdin is not None
    writing.stdin.write(bytes(1 << 20))
    writing.stdin.flush()  # more than a pipe holds: it was read in part
    writing.send_signal(signal.SIGINT)
    _, told = writing.communicate(timeout=30)
    assert (writing.returncode, told.strip()) == (130, b"")
    assert len(v.log()) == before and not v.exists("new")
    assert not list((host.store / "incoming").glob("sdk-*"))
