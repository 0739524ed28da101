"""`volfs fsck`: a volume by its name, its log, its trees, its views on this host. May import: fsck and its kin, client.

Blocks. In this order: what comes later cannot be looked at before what comes first is right.
"""

from pathlib import Path

from volfs.sdk.client import Client
from volfs.sdk.fsck import Check, Findings, Progress, check
from volfs.sdk.fsck_objects import find, repair_log
from volfs.sdk.fsck_repair import repair_tree
from volfs.sdk.fsck_views import check_views
from volfs.sdk.session import Session

_ROUNDS = 3  # a repaired tree may show what was hidden behind the damage


def fsck_volume(
    client: Client,
    name: str,
    state_dir: Path,
    *,
    data: bool,
    repair: bool,
    progress: Progress = lambda files, size: None,
    expect: Progress = lambda files, size: None,
) -> Findings:
    """What is wrong; with *repair* what still is after all was done that can be done, and what that was.

    *expect* is told how many files and bytes the newest commit has. *name* may be an id. Raises NotFoundError;
    DamageError where there is no way in; ServiceError, StoreError.
    """
    objects = Findings(problems=[], history=[], notes=[], repaired=[])
    store = client.store()
    volume = find(store, client.environment, name, objects, repair=repair)
    session = Session(store, volume, client.threads)
    if repair:
        repair_log(session, objects)
    latest = session.latest_or_none()
    if latest is not None:
        expect(latest.dir.files, latest.dir.bytes + latest.link_bytes)
    done = check(session, data=data, progress=progress)
    if repair:
        done = _repaired(session, done, objects, data=data, progress=progress)
    found = done.found
    check_views(session, state_dir, found, data=data, repair=repair)
    found.problems = objects.problems + found.problems
    found.notes = objects.notes + found.notes
    found.repaired = objects.repaired + found.repaired
    return found


def _repaired(session: Session, done: Check, objects: Findings, *, data: bool, progress: Progress) -> Check:
    for _ in range(_ROUNDS):
        lines = repair_tree(session, done)
        if not lines:
            break
        objects.repaired += lines
        done = check(session, data=data, progress=progress)
    return done
