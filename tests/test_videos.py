"""Videos in and out, by OpenCV."""

from pathlib import Path

import numpy as np
import pytest
from videos import shades, write_video

from ssd.data.videos import is_video, open_video
from ssd.report.videos import VideoFile


def test_frames_come_with_their_numbers_and_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", shades(6), rate=10)
    with open_video(path) as video:
        frames = list(video.frames)
    assert (video.rate, video.stated) == (10, 6)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    for frame, expected in zip(frames, shades(6), strict=True):
        np.testing.assert_allclose(frame.image, expected, atol=4)


def test_frames_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    with open_video(write_video(tmp_path / "a.avi", [red])) as video:
        assert next(video.frames).image[20, 20].argmax() == 0


def test_a_video_that_ends_early_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(20)]
    path = write_video(tmp_path / "a.avi", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as video:
        read = len(list(video.frames))
    assert 0 < read < 20
    assert f"states 20 frames, but only {read} can be read" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100], ids=["empty", "text"])
def test_what_is_no_video_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with (
        pytest.raises(ValueError, match=r"a\.mp4: (the file is empty|not a video)"),
        open_video(path),
    ):
        pass


def test_a_written_video_has_every_frame_at_the_same_rate(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.webm"
    with VideoFile(path, rate=29.97) as file:
        for image in shades(7):
            file.add(image)
    assert [item.name for item in path.parent.iterdir()] == ["a.webm"]
    with open_video(path) as video:
        frames = list(video.frames)
    assert (video.rate, len(frames)) == (29.97, 7)
    np.testing.assert_allclose(frames[5].image, shades(7)[5], atol=6)


def test_a_written_video_is_of_a_codec_that_browsers_play(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "a.webm", rate=10) as file:
        file.add(shades(1)[0])
    content = (tmp_path / "a.webm").read_bytes()
    assert content[:4] == b"\x1aE\xdf\xa3"  # EBML, as WebM begins
    assert b"webm" in content[:64]
    assert b"V_VP8" in content


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with VideoFile(tmp_path / "a.webm", rate=10) as file:
            file.add(shades(1)[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert not list(tmp_path.iterdir())


def test_opencv_says_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with VideoFile(tmp_path / "a.webm", rate=10) as file:
        file.add(shades(1)[0])
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"b\.mp4"), open_video(tmp_path / "b.mp4"):
        pass
    assert capfd.readouterr().err == ""


def test_videos_are_told_by_their_names() -> None:
    assert is_video("A.MP4")
    assert not is_video("a.jpg")
