"""Lightning's way to checkpoint files, safe against kills and full disks."""

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins import CheckpointIO

from ssd.weights.files import read_file, remove_parts, write_file


class SafeCheckpointIO(CheckpointIO):
    """Writes a checkpoint whole or not at all, and reads none whose checksum is wrong.

    Lightning's own writes through a temporary folder and a move, which on another file system is a
    copy in place, flushes nothing to the disk, and checks nothing when it reads
    (Lightning-AI/pytorch-lightning issue 19970). Only the first device is asked to write.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(exist_ok=True)  # but no run folder that is gone is made again
        remove_parts(path.parent)
        write_file(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """To the CPU, as tensors and plain data, whatever is asked for."""
        return read_file(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)
