"""From a MountRequest to a running mount, in the background or in front. May import: mount, control, store, view, trio.

The fork comes first: libraries that keep threads do not survive one. The child reports by a pipe.
"""

import contextlib
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio
from msgspec.structs import replace

from volfs.control import protocol
from volfs.control.registry import MountState, Place, normal_path, view_key
from volfs.control.request import MountRequest
from volfs.exception import AlreadyExistsError, ConflictError, Error, ExecutionError, InvalidError, NotFoundError
from volfs.format.ids import is_volume_id
from volfs.format.names import check_sub_path, shown
from volfs.format.record import CommitRecord
from volfs.fuse import mountpoint as at
from volfs.fuse.mount import Mount, remove_tree
from volfs.store.durable import remove_log, sweep, sync_directory
from volfs.store.places import work_dir
from volfs.store.store import Store, normal_url, open_store
from volfs.store.volumes import Volume, create_volume, find_with_latest, load_volume
from volfs.view.opening import open_view
from volfs.view.reports import CommitReport, Resumed
from volfs.view.view import Options

_CLOCK_REALTIME_COARSE = 5  # linux/time.h; the time module has no name for it

_log = logging.getLogger("volfs")


def run(request: MountRequest) -> str:
    """Mounts; returns what to tell the user, when the mount answers. In front it ends the process once the mount has
    ended. Raises Error."""
    request = replace(request, mountpoint=normal_path(request.mountpoint))
    check_sub_path(request.sub_path)
    if "ro" in request.fuse_options:
        raise InvalidError("-o ro would hide from the view that it cannot change; give --read-only")
    _check_place(request)
    at.check(request.mountpoint, nonempty=request.nonempty)
    if request.foreground:
        logging.basicConfig(level=logging.INFO, format="volfs: %(message)s", stream=sys.stderr)

        def say(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        _serve(request, say)
        logging.shutdown()
        os._exit(0)  # the interpreter's own end would wait for threads that still ask a store: 20 s for one that hangs
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(request, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        line = answers.readline()
    if not line:
        os.waitpid(child, 0)
        raise ExecutionError("the daemon ended before the mount answered; see its log, or try --foreground")
    return str(protocol.decode_answer(line).get("text", ""))


def _check_place(request: MountRequest) -> None:
    """Raises InvalidError where the view would hide what it needs, or cannot be written down."""
    for what, text in (("mountpoint", request.mountpoint), ("sub path", request.sub_path)):
        try:
            text.encode()
        except UnicodeEncodeError:
            told = shown(os.fsencode(text))
            raise InvalidError(f"{what} {told} is not UTF-8, which it has to be; take another name") from None
    for what, path in (("store", work_dir(normal_url(request.store))), ("state directory", request.state_dir)):
        if Path(os.path.realpath(path)).is_relative_to(request.mountpoint):
            raise InvalidError(f"mountpoint {request.mountpoint} would hide the {what} {path}; mount somewhere else")


def _child(request: MountRequest, writer: int) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)

        told: list[str] = []

        def ready(text: str) -> None:
            told.append(text)
            os.write(writer, protocol.encode_answer({"text": text}))
            os.close(writer)

        _serve(request, ready)
        code = 0
    except Exception as error:  # noqa: BLE001 - the parent is told, whatever it is
        _log.error("%s", error, exc_info=None if isinstance(error, Error | OSError) else error)
        if not told:  # else the mount had been answering, and the number may be another file's by now; the log has it
            with contextlib.suppress(OSError):
                os.write(writer, protocol.encode_error(error))
    finally:
        logging.shutdown()
        os._exit(code)


def _serve(request: MountRequest, ready: Callable[[str], None]) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The log has an open file for each 64 MiB: of the usual 1,024, 64 GiB not yet committed would have taken all.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    store = open_store(request.store, create=request.create, options=request.store_options)
    volume, latest = _volume(store, request)
    key = view_key(store.url, volume.id, request.mountpoint)
    place = Place(request.state_dir / key)
    place.make()
    lock = place.lock()
    try:
        if not request.foreground:
            logging.basicConfig(
                filename=place.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
            )
        sweep(store.work)
        incoming = store.work / key
        if not any(incoming.glob("*")):
            if incoming.is_dir() and place.base.exists():
                sync_directory(incoming)  # segments that a commit took must not come back beside another base
            place.base.unlink(missing_ok=True)  # nothing uncommitted was left: the latest commit is shown
        else:
            _check_kept(place, request)
        state = MountState(
            store=store.url,
            environment=request.environment,
            volume_id=volume.id,
            volume_name=volume.name,
            mountpoint=request.mountpoint,
            sub_path=request.sub_path,
            read_only=request.read_only,
            pid=os.getpid(),
        )
        fresh = not place.base.exists()
        try:
            options = Options(request.read_only, check_sub_path(request.sub_path), kernel_times=True)
            view = open_view(store, volume, key, place.base, options, clock_ns=_kernel_time_ns, latest=latest)
            mount = Mount(request, view, place.socket)
            place.save(state)
            try:
                trio.run(mount.run, lambda: ready(_told(request, view.base.seq, view.resumed)))
            except BaseExceptionGroup as failures:
                raise _first(failures) from failures
        except BaseException:
            if fresh and not any(incoming.glob("*")):
                remove_tree(incoming)
                place.remove()
            raise
        if mount.clean and _removed(incoming):
            place.remove()  # last: who waits for the lock finds nothing left
        else:
            place.save(replace(state, pid=0))
    finally:
        store.close()  # what is fetched in the background waits for a store no longer
        os.close(lock)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a user is told of them: what was raised on purpose, if there is such."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [failures]
    while waiting:
        failure = waiting.pop(0)
        if isinstance(failure, BaseExceptionGroup):
            waiting += failure.exceptions
        else:
            found.append(failure)
    return next((failure for failure in found if isinstance(failure, Error)), found[0])


def commit_kept(place: Place, state: MountState) -> CommitReport:
    """Publishes what a view that is not mounted has kept. Raises Error, OSError; then it is kept on."""
    lock = place.lock()
    try:
        store = open_store(state.store, create=False)
        volume = load_volume(store, state.volume_id)
        options = Options(state.read_only, check_sub_path(state.sub_path))
        view = open_view(store, volume, place.directory.name, place.base, options)
        report: CommitReport = trio.run(view.commit, "", lambda: None)
        if _removed(store.work / place.directory.name):
            place.remove()
        return report
    finally:
        os.close(lock)


def _removed(log: Path) -> bool:
    """Whether a log without anything uncommitted is gone for good. Else it is kept with its base: one that a loss of
    power brings back without that stops the next mount, and one that comes back with it hides what others committed."""
    try:
        remove_log(log)
    except OSError as error:
        _log.error("the view is kept: %s", error)
        return False
    return True


def _kernel_time_ns() -> int:
    """The clock of the kernel's own time stamps: a finer one would put ours after those that it sends later."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def _volume(store: Store, request: MountRequest) -> tuple[Volume, CommitRecord | None]:
    """By its name, or by its id: an ephemeral one has no other. With its latest commit."""
    try:
        return find_with_latest(store, request.environment, request.volume)
    except NotFoundError:
        if not request.create or is_volume_id(request.volume):
            raise
    try:
        uid, gid = os.geteuid(), os.getegid()
        return create_volume(store, request.environment, request.volume, uid=uid, gid=gid), None
    except AlreadyExistsError:
        return find_with_latest(store, request.environment, request.volume)


def _check_kept(place: Place, request: MountRequest) -> None:
    """Kept changes belong to the options under which they were made."""
    kept = place.load()
    if kept is None:
        return
    if (kept.sub_path, kept.read_only) != (request.sub_path, request.read_only):
        was = f"--sub-path {kept.sub_path}" if kept.sub_path else "without --sub-path"
        was += ", --read-only" if kept.read_only else ", without --read-only"
        raise ConflictError(
            f"uncommitted changes are kept for {request.mountpoint} ({was}); mount with the same options,"
            f" or drop them with `volfs umount --discard {request.mountpoint}`"
        )


def _told(request: MountRequest, seq: int, resumed: Resumed | None) -> str:
    what = f"{request.volume} mounted at {request.mountpoint}"
    if resumed is None:
        return f"{what} on commit {seq}"
    noun = "change" if resumed.changes == 1 else "changes"
    return f"{what}: resumed {resumed.changes} {noun} on commit {resumed.base}, latest is {resumed.latest}"


