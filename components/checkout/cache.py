"""DVC's cache as what it is: files named by their digests."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """DVC's cache as a folder of files named by their digests."""

    root: Path

    def find(self, md5: str) -> Path | None:
        """The file with this digest, if it is there."""
        path = self.root / "files" / "md5" / md5[:2] / md5[2:]
        return path if path.is_file() else None

    def listing(self, md5: str) -> dict[str, str] | None:
        """Digests by path of a folder with this digest, if the cache knows it."""
        path = self.find(md5)
        return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_text())} if path else None

    def size(self, md5: str) -> int:
        """Bytes of the file with this digest; 0 where there is none."""
        path = self.find(md5)
        return path.stat().st_size if path else 0
