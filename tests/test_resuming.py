"""Which checkpoint a run goes on from."""

import os
from pathlib import Path

import pytest
from test_checkpoints import save

from ssd.errors import ConfigError
from ssd.weights.resuming import check_resume, find_resume, set_later_aside, step_of


def test_latest_is_the_highest_step_whatever_clocks_and_names_say(tmp_path: Path) -> None:
    newest = save(tmp_path, "best.ckpt", step=9)
    save(tmp_path, "step_7.ckpt", step=7)
    last = save(tmp_path, "last.ckpt", step=8)
    os.utime(newest, (0, 0))
    assert find_resume("latest", tmp_path) == newest
    last.rename(tmp_path / "spare")  # the two swapped
    newest.rename(last)
    (tmp_path / "spare").rename(newest)
    assert find_resume("latest", tmp_path) == last


def test_of_equal_steps_latest_is_last(tmp_path: Path) -> None:
    last = save(tmp_path, "last.ckpt", step=8)
    for name in ("best.ckpt", "step_8.ckpt"):
        save(tmp_path, name, step=8)
    assert find_resume("latest", tmp_path) == last


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    if kind == "flip":
        content[half] ^= 1
    elif kind == "zeros":
        content[half : half + 4096] = bytes(4096)
    else:
        del content[half if kind == "half" else 0 :]
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["flip", "zeros", "half", "empty"])
def test_latest_names_a_damaged_checkpoint_and_passes_over_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    best, step = save(tmp_path, "best.ckpt", step=5), save(tmp_path, "step_7.ckpt", step=7)
    for name in ("last.ckpt", "step_9.ckpt"):
        damage(save(tmp_path, name, step=9), kind)
    assert find_resume("latest", tmp_path) == step
    for name in ("last.ckpt", "step_9.ckpt"):
        assert f"passed over: {best.with_name(name)}: " in caplog.text


def test_latest_with_only_damaged_checkpoints_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, "last.ckpt").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged"):
        find_resume("latest", tmp_path)


def test_latest_without_checkpoints_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_resume("latest", tmp_path) is None
    assert "starting at step 0" in caplog.text


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path: Path) -> None:
    last = save(tmp_path / "old", "last.ckpt")
    other = save(tmp_path / "other", "last.ckpt")
    for resume in (None, str(other)):
        with pytest.raises(ConfigError, match="resume=latest, or give another"):
            find_resume(resume, tmp_path / "old")
    assert find_resume(str(last), tmp_path / "old") == last


def test_a_run_that_goes_back_leaves_later_checkpoints_behind(tmp_path: Path) -> None:
    early = save(tmp_path, "step_6.ckpt", step=6)
    for name, step in (("step_8.ckpt", 8), ("last.ckpt", 8), ("best.ckpt", 4)):
        save(tmp_path, name, step)
    set_later_aside(tmp_path, 6)
    left = sorted(path.name for path in (tmp_path / "checkpoints" / "left_behind").iterdir())
    assert left == ["last.ckpt", "step_8.ckpt"]
    assert find_resume("latest", tmp_path) == early


def test_what_was_left_behind_before_stays(tmp_path: Path) -> None:
    for step in (7, 8, 9):
        save(tmp_path, "last.ckpt", step)
        set_later_aside(tmp_path, 6)
    left = tmp_path / "checkpoints" / "left_behind"
    steps = {name: step_of(left / f"{name}.ckpt") for name in ("last", "last-1", "last-2")}
    assert steps == {"last": 7, "last-1": 8, "last-2": 9}


def test_weights_alone_are_no_place_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds weights alone; init\.checkpoint= takes them"):
        check_resume(save(tmp_path, "a.ckpt"), {})
