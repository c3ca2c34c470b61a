"""Files of embeddings, written block by block: .npy, .npz and .parquet."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from sktl._extras import import_extra


class NpyWriter:
    """The matrix alone, in the order in which the images were named.

    Parameters
    ----------
    path : Path
        The file.
    n_rows : int
        How many rows will come.
    names : list of str
        Names of the columns.
    labelled : bool
        Whether rows come with labels.
    """

    def __init__(self, path: Path, n_rows: int, names: list[str], labelled: bool):
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        _write_header(self._file, n_rows, len(names))

    def __enter__(self):
        return self

    def write(self, rows: np.ndarray, paths: list[str], labels) -> None:
        """Append a block of rows."""
        self._file.write(np.ascontiguousarray(rows, dtype="<f4"))

    def __exit__(self, *error) -> None:
        self._file.close()


class NpzWriter:
    """``embeddings``, ``paths``, ``feature_names`` and, if there are, ``labels``."""

    def __init__(self, path: Path, n_rows: int, names: list[str], labelled: bool):
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._names = names
        self._paths: list[str] = []
        self._labels: list[str] = []
        member = zipfile.ZipInfo("embeddings.npy")
        self._member = self._archive.open(member, "w", force_zip64=True)
        _write_header(self._member, n_rows, len(names))

    def __enter__(self):
        return self

    def write(self, rows: np.ndarray, paths: list[str], labels) -> None:
        """Append a block of rows."""
        self._member.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self._paths += paths
        self._labels += labels or []

    def __exit__(self, kind, *error) -> None:
        self._member.close()
        if kind is None:
            self._add("paths", self._paths)
            self._add("feature_names", self._names)
            if self._labels:
                self._add("labels", self._labels)
        self._archive.close()

    def _add(self, name: str, texts: list[str]) -> None:
        held = io.BytesIO()
        array = np.array([_unicode(text) for text in texts], dtype=np.str_)
        npy.write_array(held, array, allow_pickle=False)
        self._archive.writestr(f"{name}.npy", held.getvalue())


class ParquetWriter:
    """A table: ``path``, ``label`` if there are labels, and one column a feature."""

    def __init__(self, path: Path, n_rows: int, names: list[str], labelled: bool):
        self._arrow = import_extra("pyarrow", "parquet", "A .parquet file")
        parquet = import_extra("pyarrow.parquet", "parquet", "A .parquet file")
        arrow = self._arrow
        fields = [("path", arrow.string())]
        if labelled:
            fields.append(("label", arrow.string()))
        fields += [(name, arrow.float32()) for name in names]
        self._schema = arrow.schema(fields)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self):
        return self

    def write(self, rows: np.ndarray, paths: list[str], labels) -> None:
        """Append a block of rows."""
        texts = [paths] if labels is None else [paths, labels]
        columns = [
            self._arrow.array([_unicode(text) for text in column], self._arrow.string())
            for column in texts
        ]
        columns += [self._arrow.array(column) for column in rows.T]
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))

    def __exit__(self, *error) -> None:
        self._writer.close()


WRITERS = {".parquet": ParquetWriter, ".npz": NpzWriter, ".npy": NpyWriter}


def _write_header(file, n_rows: int, n_columns: int) -> None:
    """Write what stands before the numbers in a .npy file."""
    npy.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_columns)}
    )


def _unicode(text: str) -> str:
    """Return text that any file can hold: bytes that are no Unicode stay visible."""
    return text.encode("utf-8", "backslashreplace").decode()
