"""One suite for every backend: what a store may rely on."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from tests.lax import LaxServer
from tests.moto import Moto
from tests.proxy import Proxy
from tests.s3 import Weed, free_ports, set_credentials
from volfs import Client, Volume
from volfs.exception import InvalidError, NotFoundError, ServiceError, StoreError
from volfs.store.backend import Backend
from volfs.store.local import Local
from volfs.store.location import parse_url
from volfs.store.remote import Remote
from volfs.store.retry import Patience
from volfs.store.store import open_store


@pytest.fixture(params=["file", "weed", "moto"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "file":
        return Local(tmp_path / "store")
    server: Weed | Moto = request.getfixturevalue(request.param)
    return Remote(parse_url(server.url(f"{tmp_path.name}-{time.time_ns()}")))


def test_an_object_is_put_whole_read_back_and_deleted(backend: Backend) -> None:
    backend.put("a/b", b"one")
    backend.put("a/b", b"two")
    assert backend.get("a/b") == b"two"
    assert backend.get_range("a/b", 1, 1) == b"w"
    assert backend.get_range("a/b", 1, 100) == b"wo"
    assert backend.get_range("a/b", 3, 100) == b""
    backend.delete("a/b")
    backend.delete("a/b")
    with pytest.raises(NotFoundError, match="a/b"):
        backend.get("a/b")
    with pytest.raises(NotFoundError):
        backend.get_range("a/b", 0, 1)


def test_a_store_that_is_away_is_not_taken_for_the_end_of_an_object() -> None:
    """Errors tell the URL and how long a request took, and with them any number."""
    set_credentials()
    url = f"s3://volfs-tests/416?allow_http=true&endpoint=http%3A%2F%2F127.0.0.1%3A{free_ports(1)[0]}&region=us-east-1"
    with pytest.raises(ServiceError, match="is away"):
        Remote(parse_url(url), limit_s=0.2).get_range("packs/416", 0, 1)


@pytest.mark.parametrize("kind", ["reset", "lost", "error", "truncate"])
def test_what_goes_wrong_on_the_way_is_tried_until_the_limit_and_final_for_no_call(weed: Weed, kind: str) -> None:
    prefix = f"way-{time.time_ns()}"
    Remote(parse_url(weed.url(prefix))).put("a/b", bytes(1000))
    with Proxy(weed.endpoint) as proxy:
        backend = Remote(parse_url(weed.url(prefix, proxy.endpoint)), limit_s=0.4)
        calls: list[Callable[[], object]] = [
            lambda: backend.get("a/b"),
            lambda: backend.get_range("a/b", 10, 500),
            lambda: backend.first("a"),
            lambda: backend.children("a"),
        ]
        if kind != "truncate":
            calls += [lambda: backend.put_if_absent("a/c", b"c"), lambda: backend.size("a/b")]
        proxy.rates = {kind: 1.0}
        for call in calls:
            with pytest.raises(ServiceError, match="is away"):
                call()


def test_of_many_puts_if_absent_one_wins(backend: Backend) -> None:
    start = threading.Barrier(16)

    def put(n: int) -> bool:
        start.wait()
        return backend.put_if_absent("race/x", b"%d" % n)

    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(put, range(16)))
    assert sum(won) == 1
    assert backend.get("race/x") == b"%d" % won.index(True)


def test_names_are_listed_in_order_directly_below_a_prefix(backend: Backend) -> None:
    for key in ("d/b", "d/a", "d/sub/x", "d/sub/y", "dd/z", "d/c"):
        backend.put(key, b"")
    assert backend.children("d") == ["a", "b", "c", "sub"]
    assert backend.children("d", limit=2) == ["a", "b"]
    assert backend.children("d", after="b") == ["c", "sub"]
    assert backend.children("d", after="a", limit=1) == ["b"]
    assert backend.children("none") == []
    assert backend.first("d") == "d/a"
    assert backend.first("d/sub") == "d/sub/x"
    assert backend.first("none") is None


def test_a_file_becomes_an_object_also_when_asked_twice(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "segment"
    data = bytes(range(256)) * 80_000  # 20 MiB: in several parts
    path.write_bytes(data)
    backend.adopt(path, "packs/p")
    backend.adopt(path, "packs/p")
    assert backend.get("packs/p") == data
    assert backend.get_range("packs/p", 10_000_000, 300) == data[10_000_000:10_000_300]


def test_a_store_that_is_away_is_told_after_the_limit_and_used_again_afterwards(weed: Weed, tmp_path: Path) -> None:
    gone = Remote(parse_url(weed.url("x", "http://127.0.0.1:9")), limit_s=1.0)
    start = time.monotonic()
    with pytest.raises(ServiceError, match="is away"):
        gone.get("a")
    assert time.monotonic() - start < 30
    assert gone.patience.traffic().retries > 0


def test_a_store_that_never_answers_is_told_after_the_limit_and_used_again_afterwards(weed: Weed) -> None:
    with Proxy(weed.endpoint) as proxy:
        store = Remote(parse_url(weed.url(f"hang-{time.time_ns()}", proxy.endpoint)), limit_s=2.0)
        store.put("a", b"there")
        proxy.rates = {"hang": 1.0}
        for call in (lambda: store.get("a"), lambda: store.put("b", b"x"), lambda: store.first("c")):
            with pytest.raises(ServiceError, match="is away"):
                call()
        proxy.rates = {}
        assert store.get("a") == b"there"


def test_waiting_for_a_store_ends_when_it_is_closed(weed: Weed) -> None:
    gone = Remote(parse_url(weed.url("x", "http://127.0.0.1:9")), limit_s=0)
    threading.Timer(0.5, gone.close).start()
    with pytest.raises(ServiceError):
        gone.put("a", b"")


def test_a_store_that_overwrites_what_should_be_absent_is_refused_when_it_is_first_written_to(
    weed: Weed, tmp_path: Path
) -> None:
    """*weed* gives credentials."""
    lax = LaxServer()
    try:
        client = Client(lax.url, cache_dir=tmp_path / "cache")
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot put an object only if it is absent"):  # each time
                Volume.from_name("v", create_if_missing=True, client=client).write_file("f", b"x")
            assert lax.objects == {}
    finally:
        lax.stop()


def test_wrong_credentials_are_a_refusal_not_an_absence(weed: Weed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="refuses") as caught:
        open_store(weed.url("refused"))
    assert "wrong" not in str(caught.value)


def test_an_error_is_one_short_line_without_what_signs_a_request() -> None:
    def refused() -> None:
        raise GenericError(
            "GET https://a.example/c/k?comp=list&sig=hidden%3D&se=2026 failed\n - status code: 403 Forbidden\n"
            ' Debug source: Generic { uri: "https://a.example/c/k?X-Amz-Signature=hidden" }'
        )

    with pytest.raises(StoreError) as caught:
        Patience("az://c", 1.0, lambda: None).run("get", "k", refused)
    text = str(caught.value)
    assert "403" in text and "sig=..." in text and "\n" not in text
    assert "hidden" not in text and "Debug" not in text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://x/y", "not supported"),
        ("s3://", "BUCKET"),
        ("s3://key:secret@bucket/p", "without credentials"),
        ("s3://bucket/p?secret_access_key=hidden", "environment"),
        ("s3://bucket/p?endpoint=http://host", "allow_http=true"),
        ("s3://bucket/p?allow_http=yes", "true or false"),
        ("s3://bucket/a/../b", "'..'"),
        ("file://host/path", "absolute"),
        ("", "empty"),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_telling_secrets(url: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_url(url)
    assert says in str(caught.value)
    assert "hidden" not in str(caught.value) and ":secret@" not in str(caught.value)


def test_a_url_has_one_form() -> None:
    one = parse_url("s3://bucket//a/b/?region=eu&endpoint=https://h").url
    assert one == parse_url("s3a://bucket/a/b?endpoint=https://h&region=eu").url
    assert parse_url(one).path == "a/b"
