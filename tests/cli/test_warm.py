"""warm: afterwards what was named is read without the store."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.test_files import on_terminal
from tests.conftest import Host
from volfs import Client, Volume

STORES = ("s3",)


def fill(point: Path) -> None:
    """447 files: many small ones, four names of one file, two large ones, one with holes; a link."""
    for name, count in (("many", 400), ("few", 40)):
        (point / name).mkdir()
        for i in range(count):
            (point / name / str(i)).write_bytes(os.urandom(10 + i))
    (point / "large").write_bytes(os.urandom(4 << 20))
    (point / "other").write_bytes(os.urandom(10 << 20))
    with open(point / "holes", "wb") as file:
        for i in range(40):
            file.seek(i << 20)
            file.write(os.urandom(5000))
    os.symlink("large", point / "link")
    (point / "few" / "name-0").write_bytes(os.urandom(100))
    for i in range(1, 4):
        os.link(point / "few" / "name-0", point / "few" / f"name-{i}")


def warm(host: Host, *arguments: object, check: int = 0) -> dict[str, int]:
    found: dict[str, int] = json.loads(host.run("warm", "v", "--json", *arguments, check=check).stdout)
    return found


def received(host: Host, cache: Path, paths: list[str]) -> int:
    """Bytes asked of the store for reading these whole."""
    with Client(host.url, cache_dir=cache) as client:
        volume = Volume.from_name("v", client=client)
        for path in paths:
            for _ in volume.read_file(path):
                pass
        count: int = client.store().use()["received_bytes"]
        return count


@pytest.fixture
def cold(host: Host) -> Path:
    """A volume whose content is in the cache of another host only; returns this host's."""
    source = host.path / "source"
    source.mkdir()
    fill(source)
    host.run("create", "v")
    host.run("put", "v", source, "/.")
    host.env["VOLFS_CACHE"] = str(host.path / "cold")
    return host.path / "cold"


def test_what_was_warmed_is_read_without_the_store_and_not_fetched_again(host: Host, cold: Path) -> None:
    first = warm(host)
    source = host.path / "source"
    names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    assert first["files"] == len(names)
    assert first["fetched_bytes"] > first["bytes"] * 0.9 > 12 << 20
    assert received(host, cold, names) < 10_000  # the names, and what was last committed
    again = warm(host)
    assert (again["files"], again["bytes"]) == (first["files"], first["bytes"])
    assert again["fetched_bytes"] < 10_000


def test_only_what_is_below_the_paths_is_fetched(host: Host, cold: Path) -> None:
    assert warm(host, "few", "many/1")["files"] == 45
    assert received(host, cold, ["few/7", "few/name-2", "many/1"]) < 10_000
    assert received(host, cold, ["other"]) > 3 << 20


def test_people_are_told_how_much_see_it_grow_on_a_terminal_and_why_it_cannot_be(host: Host, cold: Path) -> None:
    refused = host.run("warm", "v", "--cache-size", "2M", check=1)
    assert "cache's 2 MiB" in refused.stderr and "--cache-size" in refused.stderr
    code, shown = on_terminal(host, "warm", "v")
    assert code == 0 and "files" in shown and "MiB/s" in shown
    assert host.run("warm", "v").stdout.startswith("commit 1: 448 files, ")
    assert host.run("warm", "v", "few", "nowhere", check=4).stderr == "volfs: no nowhere in volume v\n"


@pytest.mark.local_store
def test_on_a_local_store_there_is_nothing_to_warm(host: Host) -> None:
    host.run("create", "v")
    assert host.run("warm", "v").stdout == f"nothing to warm: {host.url} is on this host\n"
    assert warm(host)["local"] is True
    assert not os.path.exists(host.env["VOLFS_CACHE"])
