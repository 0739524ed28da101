"""A view's sub_path: whether a tree has it, and making what is missing. May import: view, core, live, tree, format.

Must not know: commits, reloads, trio. Both may block.
"""

from volfs.exception import ConflictError, NotFoundError
from volfs.format.hashing import name_hash
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.view.core import Caller
from volfs.view.live import Live
from volfs.view.view import SUB_PATH_MODE, View


def check_root(view: View, root: Root) -> None:
    """Raises NotFoundError or ConflictError when sub_path cannot be this view's root in *root*. Blocks."""
    parts = view.options.sub_path
    path = b"/".join(parts).decode("utf-8", "replace")
    for depth in range(1, len(parts) + 1):
        found = lookup.walk(view.target.load, root, parts[:depth])
        if found is None:
            if view.core.read_only:
                raise NotFoundError(f"no directory {path} in volume {view.volume.name}")
            return
        if not found.is_dir:
            raise ConflictError(f"{path} is not a directory of volume {view.volume.name}; no symlink is followed")


def settle_root(view: View) -> None:
    """Resolves sub_path, by path; makes what is missing of it in a view that may be written.

    What it makes is no change of the user: see `View.changed`.
    """
    core = view.core
    inodes = core.inodes
    here = inodes.root.dir.ino
    inodes.touch(here)
    for name in view.options.sub_path:
        found = inodes.child(here, name)
        if found is None:
            if core.numbers.empty:
                core.numbers.offer(*view.target.claims.claim())
            owner = Caller(view.volume.uid, view.volume.gid)
            found = inodes.live[view.names.mkdir(here, name, SUB_PATH_MODE, owner).ino]
            inodes.known.forget(found.ino, 1)
        if not isinstance(found, Live):
            inodes.touch_entry(here, name, found)
        here = found.ino
        inodes.known.learn(here, inodes.live[here].parent, name_hash(name))  # the mount's root is never forgotten
    core.root_ino = here
