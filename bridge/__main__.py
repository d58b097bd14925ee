"""The command line."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bridge import __version__
from bridge.config import ConfigError, load
from bridge.logs import write_to
from bridge.setup import QUESTIONS, answers, read_secret, see_unused, write

EPILOG = """\
exit codes: 0 all is well, 1 `check` found something, 2 wrong usage or configuration,
3 homeserver unreachable or its token refused, 4 XMPP server unreachable,
5 XMPP server refused the component, 6 another instance runs, 7 database unusable
or newer than this version, 8 another instance has taken over, 70 a fault of the bridge
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the *arguments* name, and exit."""
    parsed = _parser().parse_args(arguments)
    try:
        code = parsed.command(parsed)
    except ConfigError as error:
        print(f"xmpp-matrix-bridge: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmpp-matrix-bridge",
        description="A bridge between XMPP and Matrix that loses nothing.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser(
        "init",
        help="write a configuration, a registration and a key",
        description="Write DIR/config.toml, DIR/registration.yaml and DIR/seal.key,"
        " and say what to add to the two servers. What is not given is asked for.",
    )
    init.add_argument("dir", metavar="DIR", type=Path, help="made if need be")
    for question in QUESTIONS:
        init.add_argument(f"--{question.option}", help=question.words)
    init.add_argument("--force", action="store_true", help="overwrite what is there")
    init.set_defaults(command=_init)
    for name, command, words in (
        ("check", _check, "try everything, and say what is wrong and how to mend it"),
        ("run", _run, "run the bridge until SIGTERM"),
    ):
        sub = commands.add_parser(name, help=words, description=words)
        sub.add_argument("--config", metavar="FILE", type=Path, required=True)
        sub.set_defaults(command=command)
    _add_dead(commands.add_parser("dead", help="list what did not arrive, or retry it"))
    return parser


def _add_dead(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "List the messages that did not arrive and are kept for 30 days, send one of"
        " them (or all) again, or drop it. The bridge may run meanwhile."
    )
    parser.add_argument("--config", metavar="FILE", type=Path, required=True)
    verbs = ("list", "retry", "drop")
    parser.add_argument("verb", nargs="?", choices=verbs, default="list")
    parser.add_argument("which", nargs="?", metavar="NUMBER", default="", help="or all")
    parser.set_defaults(command=_dead)


def _dead(parsed: argparse.Namespace) -> int:
    from bridge.dead import dead  # noqa: PLC0415 - `init` needs no library

    config = load(parsed.config)
    os.umask(0o077)  # SQLite may make files beside the database
    write_to(sys.stderr, config.log.level)
    return dead(config, parsed.verb, parsed.which)


def _init(parsed: argparse.Namespace) -> int:
    given = {
        question.option: getattr(parsed, question.option.replace("-", "_"))
        for question in QUESTIONS
    }
    see_unused(parsed.dir, force=parsed.force)
    given["component-secret"] = read_secret(given["component-secret"])
    ask = _ask if sys.stdin.isatty() else None
    print(write(parsed.dir, answers(given, ask), force=parsed.force))
    return 0


def _ask(words: str) -> str:
    try:
        return input(words)
    except EOFError:
        print()
        raise ConfigError("nothing was written, as an answer is missing") from None


def _check(parsed: argparse.Namespace) -> int:
    from bridge.doctor import examine  # noqa: PLC0415 - `init` needs no library

    config = load(parsed.config)
    os.umask(0o077)  # nobody else reads what we write: the database, say
    write_to(sys.stderr, config.log.level)
    return examine(config)


def _run(parsed: argparse.Namespace) -> int:
    # Asked to stop even before the bridge can listen to it, it ends as it would then.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _leave)

    # slixmpp would load it, if it is there, to colour what nobody prints: 2 MB.
    sys.modules.setdefault("pygments", None)  # type: ignore[arg-type]
    from bridge.run import run  # noqa: PLC0415 - `init` needs no library

    config = load(parsed.config)
    os.umask(0o077)  # nobody else reads what we write: the database, say
    write_to(sys.stderr, config.log.level)
    return run(config)


def _leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
