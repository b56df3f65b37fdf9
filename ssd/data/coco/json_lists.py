"""Lists in a JSON file, read one element at a time: a large file is never in memory as a whole."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

CHUNK = 1 << 20  # characters
SPACE = re.compile(r"[ \t\n\r]*")

Take = Callable[[int, Any], None]  # what is done with an element; the first is its place


def read_lists(path: Path, take: Mapping[str, Take]) -> None:
    """Give each element of the lists in a file's one object to the function of the list's key.

    The lists must be there; other keys are parsed and left. As strict as RFC 8259, and no key
    comes twice.
    """
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with path.open(encoding=encoding, newline="") as file:
            missing = take.keys() - read_object(Scanner(path, file), take)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not JSON (not text in {encoding})") from None
    if missing:
        lists = ", ".join(take)
        raise ValueError(f"{path}: has no {', '.join(sorted(missing))}; it must hold {lists}")


def read_object(scanner: "Scanner", take: Mapping[str, Take]) -> set[str]:
    """The keys of an object that is the whole text."""
    if scanner.symbol() == "[":
        scanner.fail(f"is a list, not an object that holds {', '.join(take)}")
    seen: set[str] = set()
    for key in scanner.fields():
        if key in seen:
            scanner.fail(f"the key {key!r} is there twice")
        seen.add(key)
        if key not in take:
            scanner.value(key)
        elif scanner.symbol() != "[":
            scanner.fail(f"{key} is not a list")
        else:
            for place, value in enumerate(scanner.elements(key)):
                take[key](place, value)
    if scanner.symbol():
        scanner.fail("not JSON: more text after its end")
    return seen


class Scanner:
    """A JSON text that is read no further than it is looked at."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self.file = file
        self.text = ""  # what is in memory
        self.at = 0  # place in it
        self.passed = 0  # characters before it

    def fail(self, why: str) -> None:
        raise ValueError(f"{self.path}: {why}, at character {self.passed + self.at + 1}") from None

    def more(self) -> bool:
        """Read on. As much again as is there: a long value is not parsed over and over."""
        rest = self.text[self.at :]
        new = self.file.read(max(CHUNK, len(rest)))
        if new:
            self.text, self.at, self.passed = rest + new, 0, self.passed + self.at
        return bool(new)

    def symbol(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def expect(self, symbols: str) -> str:
        """Pass one of several characters."""
        found = self.symbol()
        if not found:
            self.fail("not JSON: the file is cut off")
        if found not in symbols:
            self.fail(f"not JSON: {' or '.join(symbols)} must stand here, not {found!r}")
        self.at += 1
        return found

    def value(self, key: str) -> Any:
        """Pass a value. key: where it belongs, for an error"""
        self.symbol()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                if end < len(self.text) or not self.more():  # a number may go on
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                if not self.more():
                    self.at = min(error.pos, len(self.text))
                    self.fail(f"not JSON, or cut off: {error.msg}")
            except RecursionError:
                self.fail(f"{key}: brackets too deep in each other")
            except ValueError as error:
                self.fail(f"{key}: {str(error).partition(';')[0]}")

    def fields(self) -> Iterator[str]:
        """Pass an object: the keys, whose values the caller passes."""
        self.expect("{")
        if self.symbol() == "}":
            self.expect("}")
            return
        while True:
            if self.symbol() != '"':
                self.fail("not JSON: a key must stand here")
            key = self.value("")
            self.expect(":")
            yield key
            if self.expect(",}") == "}":
                return

    def elements(self, key: str) -> Iterator[Any]:
        """Pass a list. key: what it is called"""
        self.expect("[")
        if self.symbol() == "]":
            self.expect("]")
            return
        place = 0
        while True:
            yield self.value(f"{key}[{place}]")
            place += 1
            if self.expect(",]") == "]":
                return


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} is there twice")
    return values


def refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


DECODER = json.JSONDecoder(object_pairs_hook=without_repeats, parse_constant=refuse)
