"""A worker is given a volume's id."""

import io

import volfs as modal


def my_worker(volume_id: str) -> list[str]:
    vol = modal.Volume.from_id(volume_id)
    return [entry.path for entry in vol.listdir("/")]


with modal.Volume.ephemeral() as vol:
    assert vol.listdir("/") == []
    with vol.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x"), "a-file")
    assert my_worker(vol.object_id) == ["a-file"]
print("done")
