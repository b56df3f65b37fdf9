"""A module imports only from floors below its own: data flows up through the house."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    0: ("records", "texts", "errors", "memory", "devices", "ops"),
    1: ("models", "optim", "analysis"),
    2: ("data", "weights", "metric", "report"),
    3: ("module", "datamodule", "callbacks", "checkpointing", "detector", "doctor", "export"),
    4: ("cli",),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SHARED = ("records", "errors", "ops")  # the ground floor's own order
LIGHTNING = ("module", "datamodule", "callbacks", "checkpointing")
FILES = sorted((ROOT / "ssd").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "ssd").parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            names |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return names


def rooms_used(path: Path) -> set[str]:
    used = {name.split(".")[1] for name in imports(path) if name.startswith("ssd.")}
    return {name for name in used if name in FLOOR}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_uses_only_floors_below(path: Path) -> None:
    if room(path) == "__init__":
        return
    own = FLOOR[room(path)]
    above = {
        name
        for name in rooms_used(path) - {room(path)}
        if FLOOR[name] >= own and name not in SHARED
    }
    assert not above


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lightning_and_hydra_stay_in_their_rooms(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    if room(path) not in (*LIGHTNING, "cli"):
        assert "pytorch_lightning" not in used
    if room(path) != "cli":
        assert not used & {"hydra", "omegaconf"}


def test_checkpoints_are_loaded_without_pickled_code() -> None:
    for path in [*FILES, *ROOT.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), path
