"""pandas reads and writes a volume by URL: `pip install volfs[fsspec] pandas pyarrow`, `python fsspec_pandas.py`."""

import fsspec
import pandas

import volfs

volfs.Volume.objects.create("tables", allow_existing=True)

# A file that is written is one commit, made when it is closed; a failed write leaves the old file as it was.
cities = pandas.DataFrame({"city": ["Oslo", "Lima", "Pune"], "degrees": [4.5, 19.1, 25.3]})
cities.to_parquet("volfs://tables/weather/cities.parquet")
with fsspec.open("volfs://tables/weather/notes.csv", "w") as file:
    file.write("city,note\nOslo,snow\nPune,dry\n")

# Several files in one commit: others see both, or neither.
fs = fsspec.filesystem("volfs")
with fs.transaction:
    cities[cities.degrees > 10].to_parquet("volfs://tables/weather/warm.parquet")
    fs.rm("tables/weather/cities.parquet")

warm = pandas.read_parquet("volfs://tables/weather/warm.parquet")
notes = pandas.read_csv("volfs://tables/weather/notes.csv")
print(warm.merge(notes, how="left").fillna("-").to_string(index=False))
print(sorted(fs.ls("tables/weather", detail=False)))
