"""What strangers hand over runs nothing, leaves its place nowhere and reaches nobody."""

import ast
import io
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus import annotations, lists
from corpus.cases import Case, named
from omegaconf import OmegaConf
from saved import DETECTING, checkpoint, make, save
from test_faults import Bomb
from torch.serialization import get_safe_globals
from verbs import ROOT, SMALL, run
from voc import read_records

from ssd.weights.checkpoints import build_network, read_checkpoint
from ssd.weights.files import read_file, seal

CODE = [*(ROOT / "ssd").rglob("*.py"), *ROOT.glob("*.py")]
NOWHERE = "192.0.2.1"  # set apart for documentation, RFC 5737


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """The calls in a file, by the last two parts of the name of what is called."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(".".join(ast.unparse(node.func).split(".")[-2:]), node) for node in found]


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {word.arg: ast.unparse(word.value) for word in call.keywords}


RUNS_CODE = re.compile(
    r"(pickle|marshal|shelve|dill|joblib)\.\w+|(yaml|jit|hub)\.load|os\.(system|popen|exec\w+)"
    r"|eval|exec|compile|__import__"
)


def dangers(path: Path) -> list[str]:
    found = []
    for name, call in calls(path):
        given = keywords(call)
        loads = name == "torch.load" or "ckpt_path" in given
        if (
            RUNS_CODE.fullmatch(name)
            or (loads and given.get("weights_only") != "True")
            or given.get("shell", "False") != "False"
            or given.get("allow_pickle", "False") != "False"
        ):
            found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {name}")
    return found


def test_no_line_runs_what_a_file_says() -> None:
    assert len(CODE) > 100
    assert [danger for path in CODE for danger in dangers(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "trainer.fit(module, ckpt_path=path)",
        "np.load(path, allow_pickle=True)",
        "pickle.load(file)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
    ],
)
def test_such_a_line_would_be_found(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "a.py").write_text(f"def use(path, text, file, command):\n    {line}\n")
    assert dangers(tmp_path / "a.py")


def test_a_process_of_the_tests_reaches_its_own_machine_alone(attempts: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    with pytest.raises(ConnectionRefusedError, match=f"no network, and {NOWHERE} was asked for"):
        socket.create_connection((NOWHERE, 80), timeout=1)
    lines = "import urllib.request\nurllib.request.urlopen('http://example.com', timeout=1)"
    child = subprocess.run([sys.executable, "-c", lines], check=False, capture_output=True)
    assert b"example.com was asked for" in child.stderr
    assert attempts.read_text().split()[1::2] == [NOWHERE, "example.com"]
    attempts.write_text("")  # or this test fails by them, as any other would


BOMB = {"_target_": "os.system", "_args_": ["touch exploded"]}
INSTANTIATOR = {"_instantiator": "os.system", "class_path": "os.system", "args": "touch exploded"}


@pytest.mark.parametrize(
    "changes",
    [
        {"hyper_parameters": BOMB, "datamodule_hyper_parameters": BOMB},  # C12
        {"hyper_parameters": INSTANTIATOR},  # C11
        {"ssd": {"model": {"name": "os.system", "command": "touch exploded"}}},
        {"ssd": {"model": BOMB}},
    ],
    ids=str,
)
def test_a_configuration_within_a_checkpoint_makes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = checkpoint(make())
    described = {**content["ssd"], "detecting": DETECTING, **changes.get("ssd", {})}
    save(tmp_path / "a.ckpt", {**content, **changes, "ssd": described})
    words = [f"data.root={root}", "data=voc", "trainer=cpu", "data.num_workers=0"]
    run("evaluate", "checkpoint=a.ckpt", "hydra.run.dir=score", *words)
    assert not list(tmp_path.rglob("exploded"))


def test_no_variable_of_torch_makes_it_run_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, "a.ckpt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(ValueError, match="nothing in a file is run"):
        read_file(tmp_path / "a.ckpt")
    assert not (tmp_path / "exploded").exists()
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        torch.load("a.ckpt", weights_only=None)  # where nothing is said, the variable speaks
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("sealed", [False, True])
def test_an_archive_that_grows_when_it_is_read_is_refused(  # C13
    tmp_path: Path, sealed: bool
) -> None:
    path = packed(tmp_path / "a.ckpt", sealed, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000  # of 20 MB
    with pytest.raises(ValueError, match=r"a\.ckpt: damaged, or no checkpoint"):
        read_file(path)


def packed(path: Path, sealed: bool, edit: Any = None, **options: Any) -> Path:
    """A file of torch.save with 20 MB of zeros, written anew, its pickle through `edit`."""
    torch.save({"a": torch.zeros(20_000_000, dtype=torch.uint8)}, path)
    with zipfile.ZipFile(path) as whole:
        records = {name: whole.read(name) for name in whole.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in records.items():
            archive.writestr(name, edit(content) if edit and name.endswith(".pkl") else content)
    if sealed:
        seal(buffer)
    path.write_bytes(buffer.getvalue())
    return path


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:  # C14
    said, more = (b"J" + number.to_bytes(4, "little") for number in (20_000_000, 2_000_000_000))
    path = packed(tmp_path / "a.ckpt", sealed=False, edit=lambda it: it.replace(said, more))
    with pytest.raises(ValueError, match=r"a\.ckpt: damaged"):
        read_file(path)


@pytest.mark.parametrize("key", ["resume", "init.checkpoint"])
def test_a_checkpoint_is_a_file_and_no_address(  # K19
    root: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture
) -> None:
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *words, f"{key}=http://{NOWHERE}/a.ckpt") > 0
    assert "no such" in capsys.readouterr().out.splitlines()[-1]


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:  # C18
    content = checkpoint(make())
    name = next(iter(content["state_dict"]))
    content["state_dict"][name].flatten()[0] = float("nan")
    save(tmp_path / "a.ckpt", content)
    with pytest.raises(ValueError, match=f"its {name.removeprefix('network.')} is no number"):
        build_network(read_checkpoint(tmp_path / "a.ckpt"))


class Watch:
    """What Python opens and connects to while it is on; a hook cannot be taken off again."""

    def __init__(self) -> None:
        self.on = False
        self.opened: list[str] = []
        self.written: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            self.opened.append(path)
            mode, flags = arguments[1:]
            if set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR):
                self.written.append(path)


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


CASES = [*annotations.CASES, *lists.CASES]
PROGRAM = tuple(os.path.realpath(p) for p in {sys.prefix, sys.base_prefix, ROOT, "/usr", "/proc"})


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_annotations_of_strangers_open_nothing_outside_their_folder(  # S2, S3
    tmp_path: Path, watch: Watch, case: Case
) -> None:
    case.make(tmp_path)
    watch.opened.clear()
    watch.written.clear()
    watch.on = True
    try:
        read_records(tmp_path, case.split, bad_image="drop", size_mismatch="drop")
    except ValueError:
        pass
    finally:
        watch.on = False
    own = os.path.realpath(tmp_path)
    assert any(path.startswith(own) for path in watch.opened)
    assert [path for path in watch.opened if not path.startswith((own, *PROGRAM))] == []
    assert watch.written == []


@pytest.fixture(scope="module")
def left(root: Path, watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose environment held a secret, and which averages its weights."""
    folder = tmp_path_factory.mktemp("left")
    words = [f"data.root={root}", "callbacks=[default,averaging]", "logger=tensorboard"]
    watch.written.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", SECRET)
        before = os.umask(0o027)
        watch.on = True
        try:
            assert run("train", *SMALL, *words, f"hydra.run.dir={folder}") == 0
        finally:
            watch.on = False
            os.umask(before)
    return folder


SECRET = "a1b2c3d4e5f6a7b8"  # of this test alone


def test_a_run_writes_nowhere_but_into_its_folder(left: Path, watch: Watch) -> None:  # S10
    own, shown = os.path.realpath(left), ("/dev/", "/proc/")
    assert any(path.startswith(own) for path in watch.written)
    assert [path for path in watch.written if not path.startswith((own, *shown))] == []


def test_what_a_run_writes_is_open_to_those_whom_the_user_lets_in(left: Path) -> None:  # S10
    files = [path for path in left.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}


def test_nothing_of_the_environment_is_in_what_a_run_writes(left: Path) -> None:  # S9
    files = [path for path in left.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_no_key_of_the_configuration_is_a_secret() -> None:  # S9
    """So nothing has to be hidden where configurations are printed and kept."""
    keys = {
        key for file in (ROOT / "conf").rglob("*.yaml") for key in keys_of(OmegaConf.load(file))
    }
    assert "optimizer" in keys or "lr" in keys
    assert not [key for key in keys if re.search("token|secret|passw|api_?key|credential", key)]


def keys_of(node: Any) -> set[str]:
    content = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if isinstance(content, list):
        return {key for item in content for key in keys_of(item)}
    if not isinstance(content, dict):
        return set()
    return {str(key) for key in content} | {k for value in content.values() for k in keys_of(value)}


def test_every_checkpoint_of_a_run_is_tensors_and_plain_data(left: Path) -> None:  # S12
    assert {kind.__module__.split(".")[0] for kind in get_safe_globals()} <= {"torch"}
    kept = [*left.rglob("*.ckpt")]
    assert {path.name for path in kept} >= {"last.ckpt", "best.ckpt"}
    for path in kept:
        assert torch.load(path, weights_only=True)["state_dict"]


SAFE = {
    "torch": (2, 10),
    "pytorch-lightning": (2, 6, 6),
    "hydra-core": (1, 3, 8),
    "pillow": (12, 2),
}


def test_the_lowest_versions_that_are_allowed_are_safe_ones() -> None:  # S6
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    lowest = dict(line.split(",")[0].split(">=") for line in lines if not line.startswith("#"))
    for name, safe in SAFE.items():
        assert tuple(map(int, lowest[name].split("."))) >= safe
