"""The files in tf_checkpoint/ were written by TensorFlow 2.21's tf.compat.v1.train.Saver: "tiny" as
it writes by itself, "sharded" with sharded=True from two devices, "old" as V1."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from references.tensorflow_bundle import (
    MAGIC,
    block,
    entry,
    header,
    masked,
    number,
    table,
    trailed,
    write_checkpoint,
)
from torch import Tensor

from ssd.weights.tensorflow_files import is_tensorflow, read_variables

WRITTEN = Path(__file__).parent / "tf_checkpoint"
SHARDED = {
    "ssd_300_vgg/conv1/conv1_1/weights": torch.arange(1, 19).view(3, 3, 1, 2).float() / 8,
    "ssd_300_vgg/conv1/conv1_1/biases": torch.tensor([1, 2]).half() / 8,
    "ssd_300_vgg/block4_box/L2Normalization/gamma": torch.tensor([1, 2, 3]).double() / 8,
    "beta1_power": torch.tensor(0.125),
}
TINY = SHARDED | {
    "counts": torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.int32),
    "global_step": torch.tensor(2**40),
    "empty": torch.zeros(0, 4),
}
FLOAT, STRING = 1, 7


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert torch.equal(found[name], value)


def outcome(path: Path) -> dict[str, Tensor] | str:
    """The variables, or the message of the one error that there may be."""
    try:
        return read_variables(path)
    except ValueError as error:
        return str(error)


def refusal(path: Path) -> str:
    """The one line, which names a file of the checkpoint."""
    message = outcome(path)
    assert isinstance(message, str), "it was read"
    assert message.startswith(str(path.parent))
    assert "\n" not in message
    return message


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The prefix of a copy of "tiny"."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    return tmp_path / "tiny"


def written(folder: Path, messages: dict[str, bytes], data: bytes = bytes(64)) -> Path:
    """The prefix of a checkpoint whose index says what it likes."""
    (folder / "lies.data-00000-of-00001").write_bytes(data)
    (folder / "lies.index").write_bytes(table(messages))
    return folder / "lies"


@pytest.mark.parametrize("name", ["tiny", "tiny.index", "tiny.data-00000-of-00001"])
def test_every_name_of_a_checkpoint_gives_the_variables_that_tensorflow_wrote(name: str) -> None:
    assert is_tensorflow(WRITTEN / name)
    assert_equal(read_variables(WRITTEN / name), TINY)


def test_variables_of_two_shards_are_put_together() -> None:
    assert_equal(read_variables(WRITTEN / "sharded"), SHARDED)


def test_the_writer_of_these_tests_is_read_back(tmp_path: Path) -> None:
    variables = TINY | {f"layer_{i}/weights": torch.rand(i, 7) for i in range(200)}
    write_checkpoint(tmp_path / "model.ckpt-120", variables)
    assert_equal(read_variables(tmp_path / "model.ckpt-120"), variables)


def test_the_old_format_is_named_with_the_way_out() -> None:
    assert is_tensorflow(WRITTEN / "old")
    assert "save it again as V2" in refusal(WRITTEN / "old")


def test_a_file_of_torch_is_none_of_tensorflow(tmp_path: Path) -> None:
    torch.save(TINY, tmp_path / "model.pth")
    assert not is_tensorflow(tmp_path / "model.pth")
    assert "no TensorFlow checkpoint; model.pth.index" in refusal(tmp_path / "model.pth")


def test_an_index_cut_anywhere_is_refused(tiny: Path) -> None:
    index = tiny.with_name("tiny.index")
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        assert "tiny.index: truncated, damaged, or no index" in refusal(tiny)


def test_a_wrong_byte_in_an_index_is_refused_or_changes_nothing(tiny: Path) -> None:
    index = tiny.with_name("tiny.index")
    whole = index.read_bytes()
    for at in range(len(whole)):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = outcome(tiny)
        if isinstance(found, str):
            assert found.startswith(f"{index}: ")
        else:  # a byte that says nothing, as in the footer's filling
            assert_equal(found, TINY)


def test_a_wrong_byte_in_a_shard_is_refused_with_the_variable(tiny: Path) -> None:
    shard = tiny.with_name("tiny.data-00000-of-00001")
    data = shard.read_bytes()
    shard.write_bytes(data[:70] + bytes([data[70] ^ 1]) + data[71:])
    assert "checksum of variable 'ssd_300_vgg/conv1/conv1_1/weights'" in refusal(tiny)


def test_a_shard_cut_short_is_refused_with_both_sizes(tiny: Path) -> None:
    shard = tiny.with_name("tiny.data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "expected 136 bytes, found 135" in refusal(tiny)


def test_a_missing_shard_is_named(tiny: Path) -> None:
    tiny.with_name("sharded.data-00001-of-00002").unlink()
    assert "sharded.data-00001-of-00002: no such file" in refusal(tiny.with_name("sharded"))


def test_a_missing_index_is_named(tiny: Path) -> None:
    tiny.with_name("tiny.index").unlink()
    assert "tiny.index must lie there" in refusal(tiny.with_name("tiny.data-00000-of-00001"))


def test_an_index_of_the_old_format_under_the_new_name_is_refused(tiny: Path) -> None:
    shutil.copy(tiny.with_name("old"), tiny.with_name("tiny.index"))
    assert "no index of a TensorFlow checkpoint of format V2" in refusal(tiny)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ({}, "its header is missing"),
        ({"": header(shards=0)}, "its header is missing"),
        ({"": header(shards=1 << 40)}, "its header is missing"),
        ({"": header(big_endian=True)}, "big-endian"),
        ({"": header(), "s": entry(STRING, (1,), 0, 4)}, "data type 7; expected float16"),
        ({"": header(), "\0s": entry(FLOAT, (1,), 0, 4)}, "in slices"),
        ({"": header(), "w": entry(FLOAT, (1,), 0, 4, shard=1)}, "variable 'w' of shape"),
        ({"": header(), "w": entry(FLOAT, (2,), 0, 4)}, r"shape \(2,\) in 4 bytes"),
        ({"": header(), "w": entry(FLOAT, (1 << 63,), 0, 4)}, "in 4 bytes"),
        ({"": header(), "w": entry(FLOAT, (0, 1 << 63), 0, 0)}, "in 0 bytes"),
        ({"": header(), "w": entry(FLOAT, (1,) * 10_000, 0, 4)}, "in 4 bytes"),
        ({"": header(), "w": entry(FLOAT, (1 << 40,), 0, 1 << 42)}, "truncated, or of another"),
        ({"": header(), "w": entry(FLOAT, (4,), 60, 16)}, "expected 76 bytes, found 64"),
        ({"": header(), "w": entry(FLOAT, (4,), 1 << 63, 16)}, "truncated, or of another"),
        ({"": header(), "a\nb": entry(FLOAT, (1,), 0, 4)}, r"variable 'a\\nb' differs"),
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(
    messages: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    assert re.search(message, refusal(written(tmp_path, messages)))


def test_variables_that_share_their_bytes_cannot_fill_the_memory(tmp_path: Path) -> None:
    twice = entry(FLOAT, (16,), 0, 64, checksum=masked(bytes(64)))
    prefix = written(tmp_path, {"": header(), "a": twice, "b": twice})
    assert "expected 128 bytes, found 64" in refusal(prefix)


def test_a_compressed_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.index").write_bytes(table({"": header()}, compression=1))
    assert "its index is compressed" in refusal(tmp_path / "model")


def test_an_index_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.index").open("wb") as file:
        file.truncate(1 << 33)  # takes no room on the disk
    assert "larger than the index of any" in refusal(tmp_path / "model")


def index_of(blocks: bytes, places: list[bytes]) -> bytes:
    """An index of ready blocks, and of places that may be any."""
    where = block([(0, number(i), place) for i, place in enumerate(places)])
    footer = number(0) + number(0) + number(len(blocks)) + number(len(where))
    return blocks + trailed(where) + footer.ljust(40, b"\0") + MAGIC


def test_a_block_is_not_read_again_and_again(tmp_path: Path) -> None:
    first = trailed(block([(0, b"", header())]))
    second = trailed(block([(0, b"w", entry(FLOAT, (0,), 0, 0, checksum=masked(b"")))]))
    places = [number(0) + number(len(first) - 5), number(len(first)) + number(len(second) - 5)]
    (tmp_path / "model.data-00000-of-00001").touch()
    (tmp_path / "model.index").write_bytes(index_of(first + second, places))
    assert read_variables(tmp_path / "model").keys() == {"w"}
    (tmp_path / "model.index").write_bytes(index_of(first + second, [*places, places[1]]))
    assert "truncated, damaged" in refusal(tmp_path / "model")


def test_names_cannot_grow_by_what_they_share(tmp_path: Path) -> None:
    nothing = entry(FLOAT, (0,), 0, 0)
    content = block([(0, b"", header()), (0, b"n" * 900, nothing), (900, b"n" * 101, nothing)])
    place = number(0) + number(len(content))
    (tmp_path / "model.index").write_bytes(index_of(trailed(content), [place]))
    assert "truncated, damaged" in refusal(tmp_path / "model")


def test_noise_with_the_right_end_is_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for size in range(48, 400):
        (tmp_path / "noise.index").write_bytes(generator.bytes(size - 8) + MAGIC)
        assert refusal(tmp_path / "noise")
