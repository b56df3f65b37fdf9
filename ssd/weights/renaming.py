"""From the names of the weights in a file to those in a network: pairs of dotted prefixes."""

from collections.abc import Collection, Sequence

from ssd.errors import ConfigError
from ssd.optim.parameters import advice


def file_names(
    theirs: Collection[str], ours: Collection[str], rename: Sequence[str]
) -> dict[str, str]:
    """The names in a file, by what each of them is called in the network.

    theirs, ours: the names in the file and in the network
    rename: "old:new" prefixes; of those that fit a name the first is applied, once. An empty one
        is the front of every name: "module:" takes a prefix off, ":features" puts one on
    """
    if isinstance(rename, str):
        raise ConfigError(f"init.rename={rename}: give a list, as in init.rename=[{rename}]")
    new_names = {name: name for name in theirs}
    rest = list(theirs)
    for pair in rename:
        old, new = split_pair(pair)
        check_prefix(pair, old, theirs, "the file")
        check_prefix(pair, new, ours, "the network")
        taken = [name for name in rest if below(name, old)]
        if not taken:
            raise ConfigError(f"init.rename=[{pair}]: an earlier pair takes {old}; swap the two")
        rest = [name for name in rest if not below(name, old)]
        new_names |= {name: moved(name, old, new) for name in taken}
    result: dict[str, str] = {}
    for name, new in new_names.items():
        if new in result:
            raise ConfigError(
                f"init.rename={list(rename)}: {result[new]} and {name} both become {new}; rename "
                "one of them to something else"
            )
        result[new] = name
    return result


def split_pair(pair: str) -> tuple[str, str]:
    parts = str(pair).split(":")
    if len(parts) != 2:
        raise ConfigError(f"init.rename=[{pair}]: give old:new, two prefixes of names")
    return parts[0], parts[1]


def below(name: str, prefix: str) -> bool:
    """Whether a name is the prefix, or goes on from it after a dot."""
    return not prefix or f"{name}.".startswith(f"{prefix}.")


def moved(name: str, old: str, new: str) -> str:
    rest = name.removeprefix(old).removeprefix(".")
    return ".".join(part for part in (new, rest) if part)


def check_prefix(pair: str, prefix: str, names: Collection[str], where: str) -> None:
    if not any(below(name, prefix) for name in names):
        raise ConfigError(
            f"init.rename=[{pair}]: no weight of {where} begins with {prefix}; "
            f"{advice(prefix, list(names))}"
        )
