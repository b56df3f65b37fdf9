"""The pages of docs/: links lead somewhere, tables leave nothing out, messages are what is said."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from test_config import CONF, OPTIONS, ROOT
from verbs import SMALL, run
from voc import annotation, write_annotation

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
TROUBLE = " ".join((DOCS / "trouble.md").read_text().split())
CAT = ("cat", 1, 5, 25, 34)


def headings(page: Path) -> set[str]:
    """The names by which GitHub links to the sections of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith("http"):
            continue
        name, _, section = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not section or section in headings(target), link


def test_a_link_to_no_section_would_be_found() -> None:
    assert "3-mend-what-is-wrong" in headings(DOCS / "your_own_data.md")
    assert "mend-what-is-wrong" not in headings(DOCS / "your_own_data.md")


def test_the_index_names_every_page_once() -> None:
    named = LINK.findall((DOCS / "README.md").read_text())
    assert sorted(named) == sorted({page.name for page in DOCS.glob("*.md")} - {"README.md"})


def options_of_the_page() -> dict[str, list[str]]:
    """What the table of docs/configuration.md names, by group."""
    table = (DOCS / "configuration.md").read_text().partition("## Every group")[2]
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        group, options, *_ = [*(cell.strip() for cell in line.strip("|").split("|")), ""]
        names = re.findall(r"`([\w/]+)`", options)
        if line.startswith("|") and names:
            key = group.strip("`") or [*found][-1]
            found.setdefault(key, []).extend(names)
    return found


def test_the_page_on_configuration_names_every_option_of_every_group() -> None:
    page = {group: sorted(names) for group, names in options_of_the_page().items()}
    groups = {path.parent.as_posix() for path in OPTIONS}
    files = {g: sorted(path.stem for path in (CONF / g).glob("*.yaml")) for g in groups}
    assert page == files


def test_the_first_option_of_a_group_is_its_default() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        choices = compose("train", return_hydra_config=True).hydra.runtime.choices
    first = {group: names[0] for group, names in options_of_the_page().items()}
    del first["experiment"]  # none unless it is asked for
    assert first == {group: choices[group] for group in first}


def said(page_of: dict[Path, str], printed: str) -> str:
    """The last line of what was printed, with the names that the page has for folders."""
    line = printed.strip().splitlines()[-1]
    for path, name in page_of.items():
        line = line.replace(str(path), name)
    return line


@pytest.mark.parametrize(
    "word",
    [
        "data.classes=[cat]",
        "data.classes=[cat,dog,background]",
        "data.batch_size=64",
        "data.batch_size=1",
        "data.train_split=trainvall",
        "trainer.accumulate_grad_batches=3",
        "optimizer.learning_rate=1e-3",
    ],
)
def test_a_message_in_the_page_on_trouble_is_what_a_setting_gives(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, word: str
) -> None:
    assert run("train", *SMALL, f"data.root={root}", word, f"hydra.run.dir={tmp_path}/run") != 0
    printed = capsys.readouterr()
    assert f"> {said({root: 'DIR'}, printed.out + printed.err)}" in TROUBLE


@pytest.mark.parametrize(
    "content",
    [
        "<annotation><object></annotation>",
        annotation([CAT]).replace("<xmax>25", "<xmax>nan"),
        annotation([CAT], size=(640, 480)),
        annotation([("cat", 10, 5, 10, 34)]),
    ],
    ids=["xml", "nan", "size", "box"],
)
def test_a_message_in_the_page_on_trouble_is_what_a_file_gives(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, content: str
) -> None:
    data = shutil.copytree(root, tmp_path / "data")
    write_annotation(data, "cat1", content)
    assert run("train", *SMALL, f"data.root={data}", f"hydra.run.dir={tmp_path}/run") == 1
    assert f"> {said({data: 'DIR'}, capsys.readouterr().out)}" in TROUBLE


@pytest.mark.parametrize(
    ("verb", "key"), [("evaluate", "checkpoint"), ("train", "init.checkpoint")]
)
def test_a_message_in_the_page_on_trouble_is_what_a_strange_file_gives(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    verb: str,
    key: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.zeros(2, 2)}, "strange.pth")
    words = [*SMALL, f"data.root={root}"] if verb == "train" else []
    assert run(verb, *words, f"{key}=strange.pth", "hydra.run.dir=run") != 0
    assert f"> {said({}, capsys.readouterr().out)}" in TROUBLE
