"""volfs: named, versioned volumes as copy-on-write mounts on your own machines. May import: nothing (start time)."""

__version__ = "0.1.0"
