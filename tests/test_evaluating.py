"""The report of a split, of one checkpoint and of two, as evaluate.py and train.py write it."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from assessed import CAT, DOG, LEFT, RIGHT, assessed
from PIL import Image
from test_doctor import Page
from verbs import results, run

from ssd.cli.runs import names_apart
from ssd.report.assessment import more_results
from ssd.report.comparison import difference_results, verdicts, write_comparison
from ssd.report.figures.style import number, signed
from ssd.report.gallery import around
from ssd.report.page import write_report
from ssd.report.speed import NETWORK, STAGES, WAITING, Stopwatch, time_reading

SECTIONS = ["scores", "curves", "errors", "pictures", "calibration", "speed", "run"]
FIGURES = {"map", "ap", "sizes", "errors", "calibration"}
OWN_FIGURES = {"precision_recall", "thresholds", "confusion"}
CLASSES = ["cat", "dog"]
TRUTHS = [[(CAT, LEFT, False), (DOG, RIGHT, False)], [(DOG, LEFT, False)], []]
FOUND = [  # one right, one of the wrong class, one where nothing is; the second dog is missed
    [(CAT, 0.8, LEFT), (CAT, 0.9, RIGHT)],
    [],
    [(DOG, 0.7, LEFT)],
]


def words(page: Page, section: str) -> str:
    """What a section says, without its tags."""
    html = page.text.split(f'<section id="{section}">')[1].split("</section>")[0]
    return unescape(re.sub(r"<[^>]+>", " ", html))


def figures(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").glob("*.png")}


def check_whole(page: Page) -> None:
    assert not page.open
    inside = ("data:image/jpeg;base64,", "data:image/png;base64,", "#")
    assert all(link.startswith(inside) for link in page.links)
    assert "http" not in page.text


def test_a_training_run_ends_with_a_report_of_its_test(trained: Path) -> None:
    page, found = Page(trained / "report.html"), results(trained)
    check_whole(page)
    assert page.sections == SECTIONS
    assert figures(trained) == FIGURES | OWN_FIGURES
    for name in figures(trained):
        assert Image.open(trained / "figures" / f"{name}.png").width >= 1000
    top = page.text.split('<nav class="facts">')[1].split("</nav>")[0]
    assert f">{number(found['test/map'])}<" in top
    assert number(found["test/map_50"]) in top
    for row in found["classes"]:
        said = [row["name"], row["truths"], row["detections"], number(row["ap"])]
        assert " ".join(words(page, "scores").split()).count(" ".join(map(str, said))) == 1


def test_results_hold_what_the_report_says(trained: Path) -> None:
    page, found = Page(trained / "report.html"), results(trained)
    for rule in ("map", "map_voc12"):
        low, high = found[f"test/{rule}_interval"]
        assert low <= found[f"test/{rule}"] <= high
    assert number(found["test/ece"]) in page.text
    for name in CLASSES:
        assert number(found[f"test/threshold/{name}"]) in words(page, "curves")
    costs = [found[f"test/error_cost/{kind}"] for kind in ("class", "location", "missed")]
    assert all(number(cost) in words(page, "errors") for cost in costs)
    assert f"{found['test/speed']['network']:.2f}" in words(page, "speed")
    assert found["versions"]["torch"] in words(page, "run")


@pytest.fixture(scope="module")
def compared(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    files = [trained / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    pair = f"checkpoint=[{files[0]},{files[1]}]"
    assert run("evaluate", pair, f"hydra.run.dir={folder}", "trainer=cpu", "bootstrap=20") == 0
    return folder


def test_two_checkpoints_have_a_folder_each_and_a_page_of_both(compared: Path) -> None:
    page = Page(compared / "report.html")
    check_whole(page)
    assert page.sections == SECTIONS
    both = {f"{name}_{one}" for name in OWN_FIGURES for one in ("best", "last")}
    assert figures(compared) == FIGURES | both | {"differences"}
    for name in ("best", "last"):
        check_whole(Page(compared / name / "report.html"))
        assert (compared / name / "predictions.json").is_file()


def test_the_difference_is_that_of_the_two_results(compared: Path) -> None:
    found, page = results(compared), Page(compared / "report.html")
    best, last = (results(compared / name) for name in ("best", "last"))
    for name in ("map", "map_50", "ap/cat"):
        difference = last[f"test/{name}"] - best[f"test/{name}"]
        assert found[f"test/difference/{name}"] == pytest.approx(difference)
    assert signed(found["test/difference/map_50"]) in words(page, "scores")
    low, high = found["test/difference/map_interval"]
    assert low <= high


def test_a_checkpoint_is_equal_to_itself(tmp_path: Path) -> None:
    found = assessed(tmp_path, CLASSES, TRUTHS, FOUND)
    said = verdicts(found, found._replace(name="other"))
    assert said == [
        "VOC 2012, area: run and other are equal",
        "COCO, IoU .50:.95: run and other are equal",
    ]
    differences = difference_results(found, found)
    assert differences["test/difference/map_interval"] == [0, 0]


def test_a_better_detector_is_better_on_every_choice_of_images(tmp_path: Path) -> None:
    images = [[(CAT, LEFT, False)]] * 8
    all = [[(CAT, 0.9, LEFT)]] * 8
    none = [[(CAT, 0.9, RIGHT)]] * 8
    bad = assessed(tmp_path, ["cat"], images, none, name="bad")
    good = assessed(tmp_path, ["cat"], images, all, name="good")
    said = verdicts(bad, good)
    assert all_in("good is better than bad by 1.00, and that is not the choice of the 8", said)
    write_comparison(tmp_path / "out", bad, good)
    page = Page(tmp_path / "out" / "report.html")
    assert "8 objects that only good finds" in words(page, "pictures")
    assert "0 objects that only bad finds" in words(page, "pictures")
    assert page.pictures("pictures") == 8


def all_in(text: str, lines: list[str]) -> bool:
    return all(text in line for line in lines)


def test_errors_have_a_picture_each(tmp_path: Path) -> None:
    found = assessed(tmp_path, CLASSES, TRUTHS, FOUND)
    write_report(tmp_path / "out", found)
    page = Page(tmp_path / "out" / "report.html")
    said = words(page, "pictures")
    for caption in (
        "000000: cat 0.90, but it is dog",
        "000001: dog, not found",
        "000002: dog 0.70, where nothing is",
    ):
        assert said.count(caption) == 1, caption
    assert "dog cat 1" in " ".join(words(page, "errors").split())  # the confusion of the first


@pytest.mark.parametrize(
    ("truths", "found", "says"),
    [
        (TRUTHS, [[], [], []], "Nothing was detected"),
        ([[], [], []], FOUND, "The split holds no object that counts"),
        ([[(CAT, LEFT, True)]], [[]], "The split holds no object that counts"),
        ([[(DOG, LEFT, False)]], [[(DOG, 0.5, LEFT)]], "Every object is found."),
        ([[]], [[]], "No class is confused."),
    ],
    ids=["no detection", "no object", "only difficult", "one image, no cat", "nothing at all"],
)
def test_any_split_has_a_page(
    tmp_path: Path, truths: list[list], found: list[list], says: str
) -> None:
    one = assessed(tmp_path, CLASSES, truths, found)
    write_report(tmp_path / "out", one)
    page = Page(tmp_path / "out" / "report.html")
    check_whole(page)
    assert says in page.text
    assert figures(tmp_path / "out") == FIGURES | OWN_FIGURES


def test_two_that_find_nothing_have_a_page_where_there_is_nothing(tmp_path: Path) -> None:
    one = assessed(tmp_path, CLASSES, [[]], [[]])
    write_comparison(tmp_path / "out", one, one._replace(name="other"))
    page = Page(tmp_path / "out" / "report.html")
    check_whole(page)
    assert "the split holds no object that counts" in words(page, "scores")


def test_names_from_files_are_text_on_the_page_and_in_figures(tmp_path: Path) -> None:
    classes = ["<script>alert(1)</script>", "a$b$c_{"]
    found = assessed(tmp_path, classes, TRUTHS, FOUND, name="<b>run</b>")
    write_report(tmp_path / "out", found)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in text
    assert "<b>run" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_eighty_classes_have_a_page(tmp_path: Path) -> None:
    classes = [f"class {k}" for k in range(80)]
    truths = [[(k + 1, LEFT, False), (k + 1, RIGHT, False)] for k in range(80)]
    found = [[(k + 1, 0.8, LEFT), ((k + 5) % 80 + 1, 0.9, RIGHT)] for k in range(80)]
    drawn = write_report(tmp_path / "out", assessed(tmp_path, classes, truths, found, draws=0))
    assert drawn["confusion"].wide
    picture = np.asarray(Image.open(tmp_path / "out" / "figures" / "confusion.png").convert("RGB"))
    assert min(picture.shape[:2]) > 80 * 20  # pixels of a cell
    assert Page(tmp_path / "out" / "report.html").pictures("pictures") == 24  # confusions, missed


def test_without_drawings_there_are_no_intervals(tmp_path: Path) -> None:
    found = assessed(tmp_path, CLASSES, TRUTHS, FOUND, draws=0)
    assert not any("interval" in name for name in more_results(found))
    write_report(tmp_path / "out", found)
    assert "95%" not in words(Page(tmp_path / "out" / "report.html"), "scores").replace(
        "a line is the 95% interval", ""
    )


def test_a_report_can_be_left_out(trained: Path, tmp_path: Path) -> None:
    score = [f"checkpoint={trained}", f"hydra.run.dir={tmp_path}", "trainer=cpu", "report=false"]
    assert run("evaluate", *score) == 0
    assert not (tmp_path / "report.html").exists()
    assert "test/ece" not in results(tmp_path)


def test_a_detector_that_finds_nothing_is_reported(trained: Path, tmp_path: Path) -> None:
    score = [f"checkpoint={trained}", f"hydra.run.dir={tmp_path}", "trainer=cpu", "bootstrap=5"]
    assert run("evaluate", *score, "detecting.score_threshold=0.99999") == 0
    assert "Nothing was detected" in (tmp_path / "report.html").read_text()
    assert results(tmp_path)["test/ece"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["checkpoint=[a,b,c]"], "give one, or two to be compared, as in [A,B]"),
        (["checkpoint=[]"], "give one, or two to be compared, as in [A,B]"),
        (["checkpoint=a", "bootstrap=-1"], "bootstrap=-1: give a number of at least 0"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], says: str
) -> None:
    assert run("evaluate", *words, f"hydra.run.dir={tmp_path}") == 2
    assert says in capsys.readouterr().out


def test_checkpoints_of_other_classes_are_not_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = trained / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["ssd"]["classes"] = ["horse", "dog"]
    torch.save(content, tmp_path / "horses.ckpt")
    pair = f"checkpoint=[{file},{tmp_path}/horses.ckpt]"
    assert run("evaluate", pair, f"hydra.run.dir={tmp_path}/score") == 2
    said = capsys.readouterr().out
    assert "the first on ['cat', 'dog'], the second on ['horse', 'dog']" in said


def test_names_tell_checkpoints_apart(tmp_path: Path) -> None:
    for run_dir in ("a/run", "b/run", "c"):
        (tmp_path / run_dir / ".hydra").mkdir(parents=True)
        (tmp_path / run_dir / ".hydra" / "config.yaml").write_text("seed: 0\n")

    def named(*places: str) -> list[str]:
        return names_apart([tmp_path / f"{place}.ckpt" for place in places])

    assert named("a/run/checkpoints/best") == ["run"]
    assert named("a/run/checkpoints/best", "c/checkpoints/best") == ["run", "c"]
    assert named("c/checkpoints/best", "c/checkpoints/last") == ["best", "last"]
    assert named("a/run/checkpoints/best", "b/run/checkpoints/last") == ["best", "last"]
    assert named("a/run/checkpoints/best", "b/run/checkpoints/best") == ["1_best", "2_best"]
    assert named("lone", "c/checkpoints/last") == ["lone", "c"]


def test_the_first_batch_is_no_measure_of_speed() -> None:
    watch = Stopwatch(torch.device("cpu"))
    watch.images = [4, 2]
    watch.laps.update({stage: [9.0, 0.1] for stage in STAGES})
    speed = watch.speed(reading=1.0)
    assert (speed[WAITING], speed[NETWORK], speed["images"]) == (50, 50, 2)
    scoring = 1000 * 9.1 / 6  # of all images
    assert speed["images_per_second"] == pytest.approx(1000 / (4 * 50 + scoring))


def test_reading_is_timed_on_some_images_of_the_whole_split() -> None:
    read: list[int] = []
    assert time_reading(read.append, 100) >= 0
    assert len(read) == 25
    assert max(read) >= 96
    assert time_reading(read.append, 1) >= 0


def test_a_close_up_holds_its_boxes_and_stays_in_the_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = rng.integers(20, 300, 2)
        boxes = np.sort(rng.uniform(0, 1, (2, 2, 2)), axis=1).reshape(2, 4) * np.tile(size, 2)
        left, top, right, bottom = around(boxes, tuple(size.tolist()))
        assert 0 <= left <= boxes[:, 0].min() + 1
        assert 0 <= top <= boxes[:, 1].min() + 1
        assert size[0] >= right >= boxes[:, 2].max() - 1
        assert size[1] >= bottom >= boxes[:, 3].max() - 1


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.4131, 1.0, 0.0, -0.0124, float("nan"))] == [
        *(".413", "1.00", ".000", "-.012", "-"),
    ]
    assert [signed(value) for value in (0.012, -0.003, 0.0)] == ["+.012", "-.003", "+.000"]
