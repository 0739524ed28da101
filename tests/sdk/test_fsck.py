"""volfs fsck: a sound volume has no problem; every damage is named with its path, and nothing else is."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Host
from volfs import Client, Volume
from volfs.format.entry import Inode
from volfs.sdk.fsck import fsck
from volfs.tree.draft import Draft
from volfs.view.packing import PackWriter

STORES = ("file", "s3")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    found = Volume.from_name("v", create_if_missing=True, client=Client(tmp_path / "store"))
    found.write_file("d/small", b"small" * 1000)
    found.write_file("d/e/large", os.urandom(5_000_000))
    found.copy_files(["d"], "copy", recursive=True)
    found.write_file("d/small", b"other" * 1000)
    return found


def packs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "store").glob("families/*/packs/*"))


def test_a_sound_volume_has_no_problem(volume: Volume) -> None:
    session = volume._logic.session()
    for data in (False, True):
        found = fsck(session, data=data)
        assert found.problems == []
        assert (found.commits, found.unused_packs) == (4, 0)
        assert found.bytes == 5_010_000


def test_a_mounts_volume_with_links_conflicts_and_history_is_sound(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "d").mkdir()
    (one / "d" / "f").write_bytes(b"x" * 300_000)
    os.link(one / "d" / "f", one / "g")
    os.symlink("d", one / "s")
    host.run("commit", one)
    (two / "d").write_bytes(b"a file where a directory is")
    host.run("commit", two)
    os.rename(one / "g", one / "d" / "g")
    (one / "d" / "f").unlink()
    host.run("commit", one)
    assert "problem" not in host.run("fsck", "v", "--data").stdout
    found = json.loads(host.run("fsck", "v", "--json").stdout)
    assert (found["commits"], found["problems"]) == (3, [])


def test_a_flipped_byte_is_found_with_data_and_named_by_commit_and_path(volume: Volume, tmp_path: Path) -> None:
    [pack] = [path for path in packs(tmp_path) if path.stat().st_size > 4_000_000]
    data = bytearray(pack.read_bytes())
    data[2_500_000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    client = Client(tmp_path / "store")
    session = Volume.from_name("v", client=client)._logic.session()
    assert fsck(session, data=False).problems == []
    problems = fsck(session, data=True).problems
    assert {problem.path for problem in problems} == {"d/e/large", "copy/e/large"}
    assert {problem.commit for problem in problems} == {4}
    assert all("do not agree with their hash" in problem.text for problem in problems)


@pytest.mark.local_store
def test_a_missing_pack_and_a_missing_commit_are_found_and_the_rest_is_looked_at(
    volume: Volume, tmp_path: Path, host: Host
) -> None:
    [pack] = [path for path in packs(tmp_path) if path.stat().st_size > 4_000_000]
    content = pack.read_bytes()
    pack.unlink()
    done = host.run("fsck", "v", check=5)
    assert "commit 4, d/e: " in done.stdout  # its names were in the same pack
    assert "commit 4, copy/e/large: " in done.stdout and "missing" in done.stdout
    assert "found in volume v" in done.stderr
    pack.write_bytes(content)
    host.run("fsck", "v")
    [second] = (tmp_path / "store").glob("volumes/*/commits/*/997")
    second.unlink()
    done = host.run("fsck", "v", check=5)
    assert "commit 2: the record is missing from the log" in done.stdout
    host.run("fsck", "none", check=4)


@pytest.mark.local_store
def test_packs_that_no_commit_brought_are_counted_and_no_damage(volume: Volume, tmp_path: Path, host: Host) -> None:
    stray = packs(tmp_path)[0].with_name("0" * 32)
    stray.write_bytes(b"x" * 1000)
    done = host.run("fsck", "v")
    assert "1 pack of 1000 B in use by no commit" in done.stdout


def test_a_tree_that_cannot_be_is_found(volume: Volume) -> None:
    """Two places of one inode, and data behind a file's end."""
    session = volume._logic.session()

    def work(draft: Draft, writer: PackWriter) -> None:
        inode = draft.find((b"d", b"small"))
        assert isinstance(inode, Inode)
        draft.put((b"twin",), inode)
        short = Inode(**{name: getattr(inode, name) for name in inode.__struct_fields__} | {"ino": 999, "size": 10})
        draft.put((b"short",), short)

    session.change(work)
    texts = {problem.path: problem.text for problem in fsck(session, data=False).problems}
    assert any("has two places" in text for text in texts.values())
    assert "data up to 5000 in a file of 10 bytes" in texts["short"]
