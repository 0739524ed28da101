"""Mount options: read-only, and one directory of the volume."""

import io
import os

import volfs as modal

volume = modal.Volume.from_name("my-volume", create_if_missing=True)
with volume.batch_upload() as batch:
    batch.put_file(io.BytesIO(b"x"), "/users/my_user/data")

with volume.with_mount_options(read_only=True).mounted("mnt") as path:
    try:
        os.mkdir(f"{path}/foo")
    except OSError as error:
        print(error.strerror)

with volume.with_mount_options(sub_path="/users/my_user").mounted("user_data") as path:
    print(os.listdir(path))
