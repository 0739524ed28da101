"""Volumes by name and id: from_name, from_id, ephemeral, hydrate, info, objects, rename."""

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import volfs
from tests.sdk.forms import Form, Handle
from volfs.exception import AlreadyExistsError, InvalidError, NotFoundError
from volfs.format import ids
from volfs.sdk import ephemeral
from volfs.store import keys
from volfs.store.volumes import create_volume, delete_volume, load_volume

STORES = ("file", "s3")

BAD_NAMES = ["", "a b", "a/b", "ü", "x" * 65, ".", "..", "vo-" + "a" * 22, "name\n"]


# --- from_name


@pytest.mark.local_store
def test_from_name_is_lazy(form: Form, client: volfs.Client, place: Path) -> None:
    vol = form.Volume.from_name("v", create_if_missing=True, client=client)
    assert not vol.is_hydrated and not (place / "store").exists()
    assert vol.name == "v" and not vol.is_hydrated
    assert form(vol.listdir, "/") == []
    assert vol.is_hydrated


def test_from_name_shows_itself() -> None:
    assert repr(volfs.Volume.from_name("n")) == "volfs.Volume.from_name('n')"
    assert repr(volfs.Volume.from_name("n", environment_name="e")) == (
        "volfs.Volume.from_name('n', environment_name='e')"
    )


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_at_the_call(name: str) -> None:
    with pytest.raises(InvalidError, match=f"^Invalid Volume name {re.escape(repr(name))}: "):
        volfs.Volume.from_name(name)
    if name:  # an empty one is the default
        with pytest.raises(InvalidError, match=r"^Invalid Environment name"):
            volfs.Volume.from_name("v", environment_name=name)


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64, "vo-" + "a" * 21, "...", "-"])
def test_good_names(name: str, client: volfs.Client) -> None:
    vol = volfs.Volume.from_name(name, create_if_missing=True, environment_name=name, client=client)
    assert vol.listdir("/") == []


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"^Invalid Volume name 7: it must be text"):
        volfs.Volume.from_name(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [False, True], ids=["no store", "a store"])
def test_a_missing_volume_is_told_at_the_first_use(form: Form, client: volfs.Client, made: bool) -> None:
    if made:
        volfs.Volume.objects.create("other", client=client)
    vol = form.Volume.from_name("gone", environment_name="dev", client=client)
    with pytest.raises(NotFoundError, match=r"'gone'.*'dev'"):
        form(vol.listdir, "/")
    with pytest.raises(FileNotFoundError):
        form.items(vol.iterdir, "/")


def test_environments_keep_names_apart(form: Form, client: volfs.Client) -> None:
    for environment in ("main", "dev"):
        vol = form.Volume.from_name("v", environment_name=environment, create_if_missing=True, client=client)
        form(vol.write_file, "where", environment)
    for named in (None, "", "main", "dev"):
        vol = form.Volume.from_name("v", environment_name=named, client=client)
        assert form.items(vol.read_file, "where") == [(named or "main").encode()]


def test_a_clients_environment_is_the_default(client: volfs.Client) -> None:
    dev = volfs.Client(client.url, environment="dev")
    volfs.Volume.objects.create("v", client=dev)
    assert [v.name for v in volfs.Volume.objects.list(client=dev)] == ["v"]
    assert volfs.Volume.objects.list(client=client) == []
    assert volfs.Volume.objects.list(environment_name="dev", client=client)[0].name == "v"


def test_the_store_and_environment_of_a_program_that_names_none(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    volfs.Volume.objects.create("v")
    assert volfs.Client.from_env() is volfs.Client.from_env()
    assert volfs.Client.from_env().url == volfs.Client(store).url
    monkeypatch.setenv("VOLFS_ENVIRONMENT", "dev")
    assert volfs.Volume.objects.list() == []
    volfs.Volume.objects.create("w")
    assert [v.name for v in volfs.Volume.objects.list()] == ["w"]
    assert (volfs.Client.from_env().environment, len(volfs.Volume.objects.list(environment_name="main"))) == ("dev", 1)


def test_versions(form: Form, client: volfs.Client) -> None:
    one = form.Volume.from_name("one", create_if_missing=True, version=1, client=client)
    form(one.hydrate)
    form(form.Volume.from_name("one", version=1, client=client).hydrate)
    with pytest.raises(InvalidError, match="'one' exists with version 1, not 2"):
        form(form.Volume.from_name("one", version=2, client=client).hydrate)
    with pytest.raises(InvalidError, match="'one' exists with version 1, not 2"):
        form(form.Volume.objects.create, "one", version=2, allow_existing=True, client=client)
    for wrong in (0, 3):
        with pytest.raises(InvalidError, match="it is 1 or 2"):
            form(form.Volume.from_name("one", version=wrong, client=client).hydrate)
        with pytest.raises(InvalidError, match="it is 1 or 2"):
            form(form.Volume.objects.create, "two", version=wrong, client=client)


def test_create_options_are_accepted(form: Form, client: volfs.Client) -> None:
    options = volfs.types.VolumeCreateOptions(experimental_options={"x": 1})
    vol = form.Volume.from_name("v", create_if_missing=True, create_options=options, client=client)
    assert form(vol.hydrate) is vol
    form(form.Volume.objects.create, "w", experimental_options={"x": 1}, client=client)
    with form.block(form.Volume.ephemeral(client, None, 2, options)) as vol:
        assert form(vol.listdir, "/") == []


# --- from_id


def test_a_handle_by_id_survives_a_rename(form: Form, client: volfs.Client, vol: Handle) -> None:
    form(vol.write_file, "f", "x")
    by_id = form.Volume.from_id(vol.object_id, client)
    assert by_id.name is None and not by_id.is_hydrated
    form(form.Volume.rename, "v", "w", client=client)
    assert form.items(by_id.read_file, "f") == [b"x"]
    assert by_id.name == "w" and by_id.object_id == vol.object_id
    assert form.items(vol.read_file, "f") == [b"x"]


def test_ids_look_like_modals_and_are_never_used_again(form: Form, client: volfs.Client, vol: Handle) -> None:
    assert re.fullmatch(r"vo-[A-Za-z0-9]{22}", vol.object_id)
    form(form.Volume.objects.delete, "v", client=client)
    again = form.Volume.from_name("v", create_if_missing=True, client=client)
    assert again.object_id != vol.object_id


def test_a_missing_id_is_told_at_the_first_use(form: Form, client: volfs.Client) -> None:
    missing = ids.volume_id(bytes(16))
    vol = form.Volume.from_id(missing, client=client)
    with pytest.raises(NotFoundError, match=missing):
        form(vol.listdir, "/")


@pytest.mark.parametrize("bad", ["", "v", "vo-", "vo-" + "a" * 21, "vo-" + "a" * 23, "fu-" + "a" * 22, 7])
def test_a_malformed_id_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidError, match="is not a volume id"):
        volfs.Volume.from_id(bad)


# --- ephemeral and Volume()


def test_an_ephemeral_volume_has_no_name_and_is_not_listed(form: Form, client: volfs.Client) -> None:
    with form.block(form.Volume.ephemeral(client)) as vol:
        assert vol.name is None and vol.is_hydrated and repr(vol) == "volfs.Volume.ephemeral()"
        form(vol.write_file, "f", "x")
        assert form(form.Volume.objects.list, client=client) == []
        assert form.items(form.Volume.from_id(vol.object_id, client).read_file, "f") == [b"x"]
        assert form(vol.info).name is None


@pytest.mark.local_store
@pytest.mark.parametrize("raised", [False, True], ids=["a good end", "an exception"])
def test_an_ephemeral_volume_is_gone_at_the_end(form: Form, client: volfs.Client, raised: bool, place: Path) -> None:
    vol: Any = None

    def block() -> None:
        nonlocal vol
        with form.block(form.Volume.ephemeral(client)) as vol:
            form(vol.write_file, "f", b"x" * 1_000_000)
            assert threads() == 1
            if raised:
                raise KeyError("of the block")

    def threads() -> int:
        return sum(thread.name == "volfs-heartbeat" for thread in threading.enumerate())

    if raised:
        with pytest.raises(KeyError, match="of the block"):
            block()
    else:
        block()
    with pytest.raises(NotFoundError, match="was deleted"):
        form(vol.listdir, "/")
    with pytest.raises(NotFoundError):
        form(form.Volume.from_id(vol.object_id, client).listdir, "/")
    assert not [path for path in (place / "store").rglob("*") if path.is_file() and path.stat().st_size > 500_000]
    deadline = time.monotonic() + 10
    while threads():  # a thread ends by itself, soon after
        assert time.monotonic() < deadline


def test_an_ephemeral_volume_that_somebody_deletes_is_no_error_at_the_end(client: volfs.Client) -> None:
    with volfs.Volume.ephemeral(client) as vol, volfs.Volume.ephemeral(client, version=1) as other:
        assert vol.object_id != other.object_id
        delete_volume(client.store(), load_volume(client.store(), vol.object_id))


@pytest.mark.local_store
def test_a_heartbeat_tells_that_an_ephemeral_volume_is_used(
    form: Form, client: volfs.Client, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ephemeral.HEARTBEAT_S == 300
    monkeypatch.setattr(ephemeral, "HEARTBEAT_S", 0.02)
    with form.block(form.Volume.ephemeral(client)) as vol:
        beats = place / "store" / keys.heartbeat(vol.object_id)
        first = beats.read_bytes()
        deadline = time.monotonic() + 10
        while beats.read_bytes() == first:
            assert time.monotonic() < deadline
    assert not beats.exists()


def test_ephemeral_refuses_what_can_never_work(client: volfs.Client) -> None:
    with pytest.raises(InvalidError, match="it is 1 or 2"):
        volfs.Volume.ephemeral(client, version=3)
    with pytest.raises(InvalidError, match="Invalid Environment name"):
        volfs.Volume.ephemeral(client, environment_name="a b")


@pytest.mark.parametrize("kind", [volfs.Volume, volfs.aio.Volume])
def test_volumes_are_not_made_by_their_class(kind: Any) -> None:
    with pytest.raises(InvalidError, match="from_name"):
        kind()


# --- hydrate, object_id, name, info


def test_hydrate_returns_the_handle_and_asks_once(form: Form, client: volfs.Client, vol: Handle) -> None:
    assert form(vol.hydrate) is vol
    form(form.Volume.objects.delete, "v", client=client)
    assert form(vol.hydrate) is vol  # asks nothing
    with pytest.raises(NotFoundError):
        form(form.Volume.from_name("v", client=client).hydrate)


def test_hydrate_with_a_client(form: Form, client: volfs.Client, store: str, place: Path) -> None:
    other = volfs.Client(place / "other")
    volfs.Volume.objects.create("only-there", client=other)
    for vol in (
        form.Volume.from_name("only-there"),
        form.Volume.from_name("only-there").with_mount_options(read_only=True),
        form.Volume.from_name("only-there").read_only(),
    ):
        assert form(vol.hydrate, other) is vol
        assert form(vol.listdir, "/") == []


def test_object_id_hydrates(form: Form, client: volfs.Client) -> None:
    vol = form.Volume.from_name("v", create_if_missing=True, client=client)
    assert vol.object_id.startswith("vo-") and vol.is_hydrated


def test_info(form: Form, client: volfs.Client, vol: Handle) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    info = form(vol.info)
    assert (info.name, info.created_by) == ("v", "root")
    assert before <= info.created_at <= datetime.now(UTC)
    assert info.created_at.utcoffset() == datetime.now().astimezone().utcoffset()
    assert form(form.Volume.from_id(vol.object_id, client).info) == info
    with pytest.raises(NotFoundError):
        form(form.Volume.from_name("gone", client=client).info)


# --- objects


def test_create_returns_nothing_and_refuses_a_name_that_is_taken(form: Form, client: volfs.Client) -> None:
    assert form(form.Volume.objects.create, "v", client=client) is None
    vol = form.Volume.from_name("v", client=client)
    form(vol.write_file, "f", "x")
    with pytest.raises(AlreadyExistsError, match="v exists already in environment main"):
        form(form.Volume.objects.create, "v", client=client)
    assert form(form.Volume.objects.create, "v", allow_existing=True, client=client) is None
    assert form.items(vol.read_file, "f") == [b"x"]
    form(form.Volume.objects.create, "v", environment_name="dev", client=client)
    for name in BAD_NAMES:
        with pytest.raises(InvalidError, match="Invalid Volume name"):
            form(form.Volume.objects.create, name, client=client)


def test_list_gives_hydrated_handles_newest_first(form: Form, client: volfs.Client) -> None:
    assert form(form.Volume.objects.list, client=client) == []  # no store yet
    for name in ("c", "a", "b"):
        form(form.Volume.objects.create, name, client=client)
    found = form(form.Volume.objects.list, client=client)
    assert [(vol.name, vol.is_hydrated, type(vol)) for vol in found] == [
        (name, True, form.Volume) for name in ("b", "a", "c")
    ]
    assert [vol.name for vol in form(form.Volume.objects.list, max_objects=2, client=client)] == ["b", "a"]
    assert form(form.Volume.objects.list, max_objects=0, client=client) == []
    assert len(form(form.Volume.objects.list, max_objects=9, client=client)) == 3
    assert form(form.Volume.objects.list, environment_name="dev", client=client) == []
    form(found[0].write_file, "f", "x")
    assert [entry.path for entry in form(form.Volume.from_name("b", client=client).listdir, "/")] == ["f"]


def test_listing_page_by_page_misses_none_and_repeats_none(form: Form, client: volfs.Client) -> None:
    names = [f"v{i}" for i in range(12)]
    for name in names:
        form(form.Volume.objects.create, name, client=client)
    seen: list[str] = []
    before = None
    for _ in range(4):
        page = form(form.Volume.objects.list, max_objects=4, created_before=before, client=client)
        seen += [vol.name for vol in page]
        before = form(page[-1].info).created_at if page else before
    assert seen == names[::-1]


def test_created_before_takes_datetimes_and_iso_text(form: Form, client: volfs.Client, vol: Handle) -> None:
    form(vol.hydrate)
    created = form(vol.info).created_at

    def listed(before: object) -> int:
        return len(form(form.Volume.objects.list, created_before=before, client=client))

    tick = timedelta(microseconds=1)
    assert (listed(created), listed(created + tick)) == (0, 1)
    naive = created.replace(tzinfo=None)
    assert (listed(naive), listed(naive + tick)) == (0, 1)
    utc = (created + tick).astimezone(UTC)
    assert (listed(utc), listed(utc.isoformat())) == (1, 1)
    assert (listed(naive.isoformat()), listed((naive + tick).isoformat())) == (0, 1)
    assert (listed("2025-01-01"), listed("9999-01-01")) == (0, 1)


def test_list_refuses_what_is_no_number_or_time(form: Form, client: volfs.Client) -> None:
    with pytest.raises(InvalidError, match="max_objects cannot be negative"):
        form(form.Volume.objects.list, max_objects=-1, client=client)
    with pytest.raises(InvalidError, match="'yesterday' is no ISO date"):
        form(form.Volume.objects.list, created_before="yesterday", client=client)
    with pytest.raises(TypeError, match="not int"):
        form(form.Volume.objects.list, created_before=5, client=client)


def test_delete_frees_the_name_at_once(form: Form, client: volfs.Client, vol: Handle) -> None:
    form(vol.write_file, "f", "x")
    assert form(form.Volume.objects.delete, "v", client=client) is None
    assert form(form.Volume.objects.list, client=client) == []
    for call, arguments in ((vol.listdir, ("/",)), (vol.exists, ("f",)), (vol.write_file, ("f", "y")), (vol.log, ())):
        with pytest.raises(NotFoundError, match="deleted"):
            form(call, *arguments)
    with pytest.raises(NotFoundError, match=vol.object_id):
        form(form.Volume.from_id(vol.object_id, client).hydrate)
    form(form.Volume.objects.create, "v", client=client)
    assert form(form.Volume.from_name("v", client=client).listdir, "/") == []


def test_delete_of_a_missing_volume(form: Form, client: volfs.Client) -> None:
    for _ in range(2):  # without a store, and with one
        with pytest.raises(NotFoundError, match="'v' not found in environment 'main'"):
            form(form.Volume.objects.delete, "v", client=client)
        form(form.Volume.objects.delete, "v", allow_missing=True, client=client)
        with pytest.raises(NotFoundError, match="'v' not found in environment 'dev'"):
            form(form.Volume.objects.delete, "v", environment_name="dev", client=client)
        form(form.Volume.objects.create, "other", allow_existing=True, client=client)


@pytest.mark.slow
@pytest.mark.local_store("the time measured is our own; to make 10,000 elsewhere takes minutes")
def test_ten_thousand_volumes_are_listed_in_a_second(client: volfs.Client) -> None:
    store = client.store(create=True)
    for i in range(10_000):
        create_volume(store, "main", f"v{i}", uid=0, gid=0, now_ns=i)
    start = time.process_time()
    found = volfs.Volume.objects.list(client=client)
    seconds = time.process_time() - start
    assert [vol.name for vol in found] == [f"v{i}" for i in reversed(range(10_000))]
    assert seconds < 2, f"{seconds:.1f} s"  # 0.5 s; twice that where others use the machine


# --- rename


def test_rename(form: Form, client: volfs.Client, vol: Handle) -> None:
    form(vol.write_file, "f", "x")
    form(form.Volume.objects.create, "taken", client=client)
    with pytest.raises(AlreadyExistsError, match="taken exists already"):
        form(form.Volume.rename, "v", "taken", client=client)
    with pytest.raises(NotFoundError, match="'gone'"):
        form(form.Volume.rename, "gone", "w", client=client)
    for bad in BAD_NAMES:
        with pytest.raises(InvalidError, match="Invalid Volume name"):
            form(form.Volume.rename, "v", bad, client=client)
        with pytest.raises(InvalidError, match="Invalid Volume name"):
            form(form.Volume.rename, bad, "w", client=client)
    assert form(form.Volume.rename, "v", "w", client=client) is None
    assert sorted(vol.name for vol in form(form.Volume.objects.list, client=client)) == ["taken", "w"]
    assert form.items(form.Volume.from_name("w", client=client).read_file, "f") == [b"x"]
    form(vol.write_file, "g", "a handle goes on")
    with pytest.raises(NotFoundError):
        form(form.Volume.from_name("v", client=client).hydrate)


def test_rename_in_another_environment(form: Form, client: volfs.Client) -> None:
    form(form.Volume.objects.create, "v", environment_name="dev", client=client)
    form(form.Volume.rename, "v", "w", environment_name="dev", client=client)
    assert [vol.name for vol in form(form.Volume.objects.list, environment_name="dev", client=client)] == ["w"]


# --- options of handles


def test_with_mount_options_gives_a_new_handle(form: Form, vol: Handle) -> None:
    form(vol.hydrate)
    derived = vol.with_mount_options(read_only=True, sub_path="d")
    assert derived is not vol and (derived.name, derived.is_hydrated) == ("v", True)
    form(derived.write_file, "f", "the SDK's own functions are not limited")
    assert [entry.path for entry in form(derived.listdir, "/")] == ["f"]
    assert repr(derived) == repr(vol)
    lazy = form.Volume.from_name("missing").with_mount_options(read_only=True)
    assert lazy.name == "missing" and not lazy.is_hydrated


@pytest.mark.parametrize("bad", ["..", "a/../b", "../a"])
def test_a_sub_path_does_not_lead_out(v: volfs.Volume, bad: str) -> None:
    with pytest.raises(InvalidError, match=r"'\.\.' would leave the volume"):
        v.with_mount_options(sub_path=bad)


def test_read_only_handles_refuse_every_change(form: Form, client: volfs.Client, vol: Handle) -> None:
    form(vol.write_file, "f", "x")
    handle = vol.read_only()
    assert form.items(handle.read_file, "f") == [b"x"] and handle.name == "v"
    with pytest.raises(InvalidError, match="read-only"):
        handle.batch_upload()
    for call, arguments in (
        (handle.remove_file, ("f",)),
        (handle.copy_files, (["f"], "g")),
        (handle.move, ("f", "g")),
        (handle.write_file, ("f", "y")),
    ):
        with pytest.raises(InvalidError, match="read-only"):
            form(call, *arguments)
    assert form.items(vol.read_file, "f") == [b"x"]
    form(vol.write_file, "f", "y")  # the handle it was made from is as before


def test_read_only_and_with_mount_options_do_not_mix(v: volfs.Volume) -> None:
    with pytest.raises(InvalidError, match="does not go with"):
        v.read_only().with_mount_options(read_only=True)
    with pytest.raises(InvalidError, match="does not go with"):
        v.with_mount_options(sub_path="d").read_only()
