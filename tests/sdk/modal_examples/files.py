"""Files without a mount: uploaded, read, copied, removed."""

import io
from pathlib import Path

import volfs as modal

vol = modal.Volume.from_name("my-modal-volume", create_if_missing=True)

Path("local-path.txt").write_text("local text")
Path("local/directory").mkdir(parents=True)
Path("local/directory/example.txt").write_text("example")
with vol.batch_upload() as batch:
    batch.put_file("local-path.txt", "/remote-path.txt")
    batch.put_directory("local/directory/", "/bar")
    batch.put_file(io.BytesIO(b"some data"), "/foobar")
    batch.put_file(io.BytesIO(b"," * 1024 * 1024), "1mb.csv")

data = b""
for chunk in vol.read_file("1mb.csv"):
    data += chunk
assert len(data) == 1024 * 1024

vol.copy_files(["bar/example.txt"], "bar2")
vol.copy_files(["bar/example.txt"], "bar/example2.txt")
vol.remove_file("foobar")
assert [entry.path for entry in vol.listdir("/", recursive=True)] == [
    "1mb.csv",
    "bar",
    "bar/example.txt",
    "bar/example2.txt",
    "bar2",
    "remote-path.txt",
]
print("done")
