"""From the names in a file to those of the network."""

from pathlib import Path

import pytest
from saved import checkpoint, copies, make, same, save, start

from ssd.errors import ConfigError
from ssd.weights.renaming import file_names


def test_renamed_weights_arrive(tmp_path: Path) -> None:
    old, new = make(), make()
    weights = {
        name.replace("features.backbone", "backbone").replace("heads", "box"): value
        for name, value in old.state_dict().items()
    }
    path = save(tmp_path / "a.pth", weights)
    start(new, path, rename=["backbone:features.backbone", "box:heads"])
    assert same(new, old.state_dict())


@pytest.mark.parametrize(
    ("name", "rename", "expected"),
    [
        ("module.heads.0.b", ["module:"], "heads.0.b"),  # what DataParallel puts in front
        ("0.b", [":heads"], "heads.0.b"),
        ("old.b", ["old.b:heads.0.c"], "heads.0.c"),  # a whole name
        ("old.0.b", ["old.0:heads.1", "old:heads"], "heads.1.b"),  # the first that fits
        ("heads.0.b", ["heads.0:heads.1"], "heads.1.b"),
    ],
)
def test_the_first_pair_that_fits_renames_once(name: str, rename: list[str], expected: str) -> None:
    ours = ["heads.0.b", "heads.0.c", "heads.1.b"]
    theirs = [name, "old.1.x"] if len(rename) > 1 else [name]
    assert file_names(theirs, ours, rename)[expected] == name


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (["fetures:heads"], r"\[fetures:heads\]: no weight of the file .* mean features"),
        (["features:hed"], r"\[features:hed\]: no weight of the network .* mean heads"),
        (["features:heads", "features.backbone:heads"], "an earlier pair takes features.backbone"),
        (["features"], "give old:new"),
        (["a:b:c"], "give old:new"),
        (["heads.0:heads.1"], r"heads\.0\.classify\.weight and heads\.1\.classify\.weight both"),
    ],
)
def test_a_rename_that_cannot_be_meant_is_an_error(
    tmp_path: Path, rename: list[str], message: str
) -> None:
    new = make()
    fresh = copies(new)
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    with pytest.raises(ConfigError, match=message):
        start(new, path, rename=rename)
    assert same(new, fresh)
