"""The two files of a split of a table, written block by block: features, and the columns that they were made of."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.columns import Column


class SplitFiles:
    """SPLIT.npy (record, feature) float32 and SPLIT.parquet (float32 or string columns); a context manager."""

    def __init__(self, folder: Path, split: str, columns: list[Column], records: int) -> None:
        types = [(each.name, pa.string() if each.is_one_hot else pa.float32()) for each in columns]
        self._folder, self._split, self._schema = folder, split, pa.schema(types)
        self._shape, self._stack = (records, columns[-1].stop), ExitStack()

    def __enter__(self) -> Self:
        self._features = self._stack.enter_context((self._folder / f"{self._split}.npy").open("wb"))
        head = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._features, head)
        columns = pq.ParquetWriter(self._folder / f"{self._split}.parquet", self._schema)
        self._columns = self._stack.enter_context(columns)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def append(self, cells: dict[str, np.ndarray], features: Iterable[np.ndarray]) -> None:
        """Add records: canonical cells (record,) by column, and blocks of features (record, feature) float32."""
        arrays = [pa.array(cells[field.name], field.type, from_pandas=False) for field in self._schema]
        self._columns.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        for block in features:
            self._features.write(np.ascontiguousarray(block).data)
