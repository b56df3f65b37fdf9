"""Many pictures, or the frames of a video: read, resized and drawn while the network works."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ssd.data.ahead import ahead
from ssd.data.images.reading import read_image
from ssd.data.pictures import Picture, make_picture
from ssd.data.progress import Progress
from ssd.data.videos import Frame, open_video
from ssd.detector.detector import Detector
from ssd.detector.drawing import drawn, drawn_names, write_picture
from ssd.detector.options import Options
from ssd.detector.sources import Sources
from ssd.ops.tiling import Objects
from ssd.report.annotations import Found
from ssd.report.videos import SUFFIX, VideoFile

WAITING = 8  # pictures that are held until they are drawn


class Shot(NamedTuple):
    """A picture that can be looked at."""

    picture: Picture
    number: int  # from 1
    name: str
    frame: Frame | None = None


class Unreadable(NamedTuple):
    """One that cannot."""

    name: str
    why: str


class Undrawn(NamedTuple):
    """One that was looked at and could not be drawn; what was found comes before it."""

    name: str
    why: str


def over_files(
    detector: Detector,
    options: Options,
    sources: Sources,
    drawings: Path | None,
    workers: int,
    show: Progress,
) -> Iterator[Found | Unreadable | Undrawn]:
    """What is in each picture, in order. drawings: the folder for those with boxes, or None"""
    names, files = sources.names, sources.files
    called = drawn_names(names) if drawings else []

    def read(number: int) -> Shot | Unreadable:
        try:
            image = read_image(files[number - 1])
        except ValueError as error:
            return Unreadable(names[number - 1], str(error))
        picture = make_picture(image, detector.image_size, options.tiling)
        return Shot(picture, number, names[number - 1])

    def draw(shot: Shot, found: Found) -> Undrawn | None:
        image = drawn(shot.picture.image, found, detector.classes)
        try:
            write_picture(image, drawings / called[shot.number - 1])
        except (OSError, ValueError) as error:
            return Undrawn(shot.name, f"{shot.name}: {error}")
        return None

    with ThreadPoolExecutor(workers) as pool:
        shots = ahead(pool, read, range(1, len(files) + 1), depth=held(options, workers))
        every = finished(look(detector, options, shots), draw if drawings else None, pool)
        count = 0
        for one in every:
            count += not isinstance(one, Undrawn)
            show(count, len(files))
            yield one


def over_video(
    detector: Detector,
    options: Options,
    sources: Sources,
    drawings: Path | None,
    workers: int,
    show: Progress,
) -> Iterator[Found | Unreadable | Undrawn]:
    """What is in each frame. drawings: the folder for the video with boxes, or None"""
    (path,), (name,) = sources.files, sources.names

    def read(frame: Frame) -> Shot:
        picture = make_picture(frame.image, detector.image_size, options.tiling)
        return Shot(picture, frame.number + 1, name, frame)

    with ExitStack() as stack:
        video = stack.enter_context(open_video(path))
        draw = None
        if drawings:
            file = VideoFile(drawings / Path(name).with_suffix(SUFFIX), video.rate)
            written = stack.enter_context(file)

            def draw(shot: Shot, found: Found) -> None:
                written.add(drawn(shot.picture.image, found, detector.classes))

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        pen = stack.enter_context(ThreadPoolExecutor(1))  # one, so that frames stay in order
        shots = ahead(pool, read, video.frames, depth=held(options, workers))
        every = finished(look(detector, options, shots), draw, pen)
        for count, one in enumerate(every, start=1):
            show(count, max(count, video.stated))
            yield one


def held(options: Options, workers: int) -> int:
    """How many pictures are read before they are asked for."""
    return workers if options.tiling else options.batch_size + workers


def look(
    detector: Detector, options: Options, shots: Iterable[Shot | Unreadable]
) -> Iterator[tuple[Shot, Found] | Unreadable]:
    """Batches of pictures, or a tiled picture, which is a batch itself, at a time."""
    rest, count = iter(shots), 1 if options.tiling else options.batch_size
    while some := list(islice(rest, count)):
        good = [shot for shot in some if isinstance(shot, Shot)]
        objects = detector.find([shot.picture for shot in good], options) if good else []
        found = iter([(shot, found_in(shot, one)) for shot, one in zip(good, objects, strict=True)])
        yield from (next(found) if isinstance(shot, Shot) else shot for shot in some)


def found_in(shot: Shot, objects: Objects) -> Found:
    columns = (column.numpy() for column in objects)
    frame = shot.frame and shot.frame.number
    seconds = shot.frame and shot.frame.seconds
    return Found(shot.number, shot.name, shot.picture.size, *columns, frame, seconds)


def finished(
    seen: Iterable[tuple[Shot, Found] | Unreadable],
    draw: Callable[[Shot, Found], Undrawn | None] | None,
    pool: ThreadPoolExecutor,
) -> Iterator[Found | Unreadable | Undrawn]:
    """What was seen, once it is drawn; a few pictures wait for that at a time."""
    waiting: deque[tuple[Found | Unreadable, Future | None]] = deque()
    for one in seen:
        if isinstance(one, Unreadable) or draw is None:
            waiting.append((one if isinstance(one, Unreadable) else one[1], None))
        else:
            waiting.append((one[1], pool.submit(draw, *one)))
        while len(waiting) > WAITING:
            yield from done(*waiting.popleft())
    while waiting:
        yield from done(*waiting.popleft())


def done(one: Found | Unreadable, drawing: Future | None) -> Iterator[Found | Unreadable | Undrawn]:
    yield one
    if drawing is not None and (undrawn := drawing.result()):
        yield undrawn
