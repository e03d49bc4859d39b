"""The command `classify install-service`: a systemd unit that starts with the board, is watched, and may touch little.

Every user may read a unit and its command line, so words that hold a secret lie in a file of their own, which systemd puts into the
program's environment.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from tflite_runtime_app.admission.budget import START_SECONDS, WATCHDOG_SECONDS
from tflite_runtime_app.commands.secret_words import environment_file, set_apart
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.files import write_atomically
from tflite_runtime_app.sources.address import shown

_UNIT = """[Unit]
Description=clip-rescue: {title}
Documentation={readme}
{after}StartLimitIntervalSec=600
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
{watchdog}Restart=always
RestartSec=2
TimeoutStartSec={start}
TimeoutStopSec=5
KillMode=control-group
OOMPolicy=stop
MemoryMax={memory}
Nice=5
Environment=PYTHONUNBUFFERED=1
{secrets}# Confined: it reads, and writes only where it may.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
UMask=0077
{confined}
[Install]
WantedBy={wanted}
"""
# What only the system's manager can do: a user's own has no right to make name spaces on every kernel.
_CONFINED = """User={user}
SupplementaryGroups=video
StateDirectory=clip-rescue
CacheDirectory=clip-rescue
Environment=XDG_CACHE_HOME=/var/cache
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
CapabilityBoundingSet=
{writable}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("--name", default="clip-rescue", help="of the unit (default: %(default)s)")
    parser.add_argument(
        "--user", action="store_true", help="a unit of yours alone; it starts when you log in, or after: loginctl enable-linger"
    )
    parser.add_argument("--memory", default="512M", metavar="SIZE", help="more and it is started anew (default: %(default)s)")
    parser.add_argument(
        "--write", action="append", default=[], metavar="DIR", help="a folder that it may write to, as for --snapshots"
    )
    parser.add_argument("--print", action="store_true", dest="only_print", help="show the unit, write nothing")
    parser.add_argument("--force", action="store_true", help="write over a unit that exists")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- FILE SOURCE…", help="what classify is to run")


def run(arguments: argparse.Namespace) -> int:
    """The unit lies where systemd looks for it; what is left to do is printed."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]{1,100}", arguments.name) or not re.fullmatch(r"\d+[KMG]?", arguments.memory):
        raise UsageError("--name takes letters, digits and :_.@-, --memory a size as in 512M")
    secrets = secrets_path(arguments.name, arguments.user)
    text = unit(words, arguments.user, arguments.memory, tuple(arguments.write), secrets)
    _, values = set_apart(words)
    if arguments.only_print:
        print(text, end="")
        if values:
            print(f"classify: {secrets} would hold, for its owner alone: {', '.join(values)}", file=sys.stderr)
        return 0
    folder = _home() / ".config" / "systemd" / "user" if arguments.user else Path("/etc/systemd/system")
    path = folder / f"{arguments.name}.service"
    _write(path, text, secrets, values, arguments.force)
    whose = "--user " if arguments.user else ""
    print(escaped(path))
    print(
        f"classify: now: systemctl {whose}daemon-reload && systemctl {whose}enable --now {arguments.name}; "
        f"its words: journalctl {whose}-u {arguments.name} -f",
        file=sys.stderr,
    )
    if values:
        print(f"classify: {', '.join(values)}: in {secrets}, for its owner alone; change them there", file=sys.stderr)
    return 0


def _home() -> Path:
    """The user's own folder. Raises UsageError where nobody says which it is."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError("--user needs to know your own folder, and HOME names none; set it") from error


def secrets_path(name: str, user: bool) -> Path:
    """Where the words of the unit `name` lie that hold a secret."""
    return (_home() / ".config" if user else Path("/etc")) / "clip-rescue" / f"{name}.env"


def unit(words: list[str], user: bool, memory: str, writable: tuple[str, ...], secrets: Path | None = None) -> str:
    """The unit's text for `classify` with these words; those with a secret are only named, to be read from the file `secrets`.

    Raises UsageError when the words are no FILE and SOURCE, when `classify run` would not take them, or when the file is not there.
    """
    if len(words) < 2 or words[0].startswith("-"):
        raise UsageError(
            "give what is to run behind two dashes, as in: classify install-service -- pocket-rpi.tflite rpi --serve 8080"
        )
    if not Path(words[0]).is_file():
        raise UsageError(f"{words[0]}: no such file; a service needs the bundle where it will stay")
    placed, values = set_apart(words)
    secrets = secrets or secrets_path("clip-rescue", user)
    absolute = [str(Path(words[0]).resolve()), *(_absolute(word) for word in placed[1:])]
    command = " ".join(quoted(word) for word in (sys.executable, "-m", "tflite_runtime_app", "run", *absolute))
    folders = [str(Path(folder).resolve()) for folder in writable]
    confined = _CONFINED.format(
        user=os.environ.get("SUDO_USER") or os.environ.get("USER") or "pi",
        writable="".join(f"ReadWritePaths={quoted(folder)}\n" for folder in folders),
    )
    return _UNIT.format(
        title=re.sub(r"[^\w ./:*=&?,+~@-]", "_", f"{Path(words[0]).name} {_title(words[1])}"),
        readme=_literal(Path(__file__).as_uri()),
        secrets=f"EnvironmentFile={_literal(str(secrets))}\n" if values else "",
        after="" if user else "After=network.target time-sync.target\n",
        command=command,
        folder=_literal(str(Path(absolute[0]).parent)),
        # A folder may stay empty for days, and only images that were looked at feed the watchdog.
        watchdog="" if "--watch" in words else f"WatchdogSec={WATCHDOG_SECONDS}\n",
        start=START_SECONDS,
        memory=memory,
        confined="" if user else confined,
        wanted="default.target" if user else "multi-user.target",
    )


def quoted(word: str) -> str:
    """A word as systemd reads it back: in double quotes where needed, its own signs (%, $, \\) taken literally."""
    if re.search(r"[\x00-\x1f]", word):
        raise UsageError(f"a unit cannot hold control characters, found {word!r}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z0-9_./:=,@+%$-]+", escaped) else f'"{escaped}"'


def _literal(path: str) -> str:
    """A path where systemd takes the rest of the line, and so no quotes."""
    if re.search(r"[\x00-\x1f]", path):
        raise UsageError(f"a unit cannot hold control characters, found {path!r}")
    return path.replace("%", "%%")


def _title(source: str) -> str:
    """A source as everybody may read it: of an address the host alone, as paths and queries may hold secrets."""
    if "://" not in source:
        return Path(shown(source)).name
    scheme, _, rest = shown(source).partition("://")
    return f"{scheme}://{re.split('[/?#]', rest.rpartition('@')[2], maxsplit=1)[0]}"


def _write(path: Path, text: str, secrets: Path, values: dict[str, str], force: bool) -> None:
    """The unit lies at `path`, what it keeps secret at `secrets`, and nothing there that it does not need. Raises UsageError."""
    for there in (path, *([secrets] if values else [])):
        if there.exists() and not force:
            raise UsageError(f"{there} exists; write over it with --force, or choose another --name")
    target = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if values:
            target = secrets
            secrets.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(secrets, environment_file(values).encode(), mode=0o600)
            target = path
        write_atomically(path, text.encode())
        if not values:
            secrets.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); run it with sudo, or make a unit of your own with --user"
        ) from error


def _absolute(word: str) -> str:
    """Relative paths that exist become absolute: a service starts elsewhere."""
    return os.path.abspath(word) if not word.startswith("-") and "://" not in word and os.path.exists(word) else word
