"""A short list of patterns in place of a long list of weights."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase


def prefixes(name: str) -> Iterator[str]:
    """Those of "a.b.c": "a", "a.b" and "a.b.c"."""
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def folded(names: Collection[str], all_names: Iterable[str]) -> list[str]:
    """The dotted prefixes, or shell patterns such as "heads.*.bias" where those are fewer, that
    select exactly `names` among `all_names`, in the order of `all_names`."""
    return fold("", [name for name in all_names if name in names], list(all_names))


def fold(prefix: str, names: list[str], all_names: list[str]) -> list[str]:
    """What `folded` finds, where all names begin with `prefix`."""
    if prefix and len(names) == len(all_names):
        return [prefix.removesuffix(".")]
    below = []
    for child in dict.fromkeys(stem(name, prefix) for name in names):
        inside = [[n for n in some if stem(n, prefix) == child] for some in (names, all_names)]
        below += fold(child, *inside)
    if len(names) == len(all_names):
        return below
    patterns = [endings(prefix, names, parts) for parts in (1, 2)]
    exact = [some for some in patterns if hits(some, all_names) == names]
    return min([below, *exact], key=len)


def stem(name: str, prefix: str) -> str:
    """`prefix` and the next part of the name, with its dot."""
    head, dot, _ = name[len(prefix) :].partition(".")
    return prefix + head + dot


def endings(prefix: str, names: list[str], parts: int) -> list[str]:
    """Patterns of the last `parts` parts of the names."""
    tails = dict.fromkeys(".".join(name.split(".")[-parts:]) for name in names)
    return [f"{prefix}*.{tail}" for tail in tails]


def hits(patterns: list[str], names: list[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
