"""Words of the command line that only their owner may know: they stand in the environment, and `env:NAME` in their place.

A command line can be read by every user of a board (`ps`), and so can a systemd unit; the environment of a process cannot.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, MutableMapping, Sequence

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sources.address import hide_credentials, shown

_PLACE = re.compile(r"(--[a-z-]+=)?env:([A-Za-z_][A-Za-z0-9_]*)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints say no password, and repeat no command of a terminal."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it never returns, as argparse's does not
        """Ends the program with the usage and `message`."""
        super().error(escaped(hide_credentials(message)))


class _Strict(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"classify run could not start with these words: {hide_credentials(message)}")


def revealed(words: Sequence[str], environment: MutableMapping[str, str]) -> list[str]:
    """`words` with the value of the variable for every `env:NAME` and `--option=env:NAME`; what was used is no longer in `environment`,
    so that no program started from here gets it. Raises UsageError for a variable that is not set."""
    used: dict[str, str] = {}

    def value(name: str) -> str:
        if name not in environment:
            raise UsageError(f"env:{name} stands for the environment variable {name}, which is not set; set it first")
        used[name] = environment[name]
        return used[name]

    found = [(match[1] or "") + value(match[2]) if (match := _PLACE.fullmatch(word)) else word for word in words]
    for name in used:
        del environment[name]
    return found


def set_apart(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words of `classify run` with `env:NAME` for those that hold a secret, and these by NAME.

    They are the token, a broker with user or password, every camera's address and every --on-label: no rule knows all that may be secret in
    a path, a query or a command.
    Raises UsageError when `classify run` would not take the words.
    """
    from tflite_runtime_app.commands import options  # late: other commands do without, and it loads numpy

    parser = _Strict(prog="classify run", add_help=False)
    options.add_arguments(parser)
    parser.add_argument("--debug", action="store_true")
    arguments = parser.parse_args(list(words))
    found = {"CLASSIFY_TOKEN": [arguments.token], "CLASSIFY_ON_LABEL": arguments.on_label}
    found["CLASSIFY_MQTT"] = [url for url in [arguments.mqtt] if url and ("@" in url or shown(url) != url)]
    found["CLASSIFY_SOURCE"] = [word for word in arguments.sources if "://" in word or shown(word) != word]
    values: dict[str, str] = {}
    for name, of_name in found.items():
        for number, value in enumerate(dict.fromkeys(of_name)):
            if value and not _PLACE.fullmatch(value):
                values[f"{name}_{number + 1}" if number else name] = value
    names = {value: name for name, value in values.items()}
    return [_replaced(word, names) for word in words], values


def environment_file(values: Mapping[str, str]) -> str:
    """`values` as systemd's EnvironmentFile= reads them back, sign by sign. Raises UsageError for control characters."""
    for name, value in values.items():
        if re.search(r"[\x00-\x1f\x7f]", value):
            raise UsageError(f"{name}: a unit cannot hold control characters; take them out of the word")
    escaped = {name: re.sub(r'(["\\`$])', r"\\\1", value) for name, value in values.items()}
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


def _replaced(word: str, names: Mapping[str, str]) -> str:
    if word in names:
        return f"env:{names[word]}"
    option, equals, value = word.partition("=")
    return f"{option}=env:{names[value]}" if equals and word.startswith("--") and value in names else word
