"""Volumes by name: made, found, listed, renamed, deleted."""

import volfs as modal

modal.Volume.objects.create("my-volume")
modal.Volume.objects.create("my-volume", environment_name="dev")
modal.Volume.objects.create("my-volume", allow_existing=True)

vol = modal.Volume.from_name("my-volume", create_if_missing=True)
assert vol.listdir("/") == []

assert [v.name for v in modal.Volume.objects.list()] == ["my-volume"]
assert [v.name for v in modal.Volume.objects.list(environment_name="dev")] == ["my-volume"]
assert modal.Volume.objects.list(max_objects=10, created_before="2025-01-01") == []

modal.Volume.rename("my-volume", "another-name")
modal.Volume.objects.delete("another-name")
modal.Volume.objects.delete("my-volume", environment_name="dev")
assert modal.Volume.objects.list() == []
print("done")
