"""Stores to and from other file formats: `export` writes a folder, `restore` reads it again.

An export is a folder with the features in one form (`zarr`, `webdataset`, `hdf5`, `npz` or
`parquet`), the sample table, every column's description and every sample's fate, and last
`scfae-export.json` with the checksum of each file. What `restore` makes of it is a store that is
equal in every bit to what was exported.
"""

from .export import export
from .manifest import EXPORT_FILE, FORMS, is_export
from .restore import restore

__all__ = ["EXPORT_FILE", "FORMS", "export", "is_export", "restore"]
