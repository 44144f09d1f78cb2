"""The store's command line: `python -m store export`, `import` and `check` (docs/export.md)."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import redis
from pymongo.errors import PyMongoError

import settings
from store.answers import LongHistoryUnavailable
from store.export.formats import FORMATS
from store.export.selection import Place, Selection
from store.times import MAX_TIME_MS, parse_time_ms
from transfer.check_command import check
from transfer.export_command import OutputError, export
from transfer.import_command import import_
from transfer.lines import InputError
from transfer.older_messages import ChangingError
from transfer.room import FullError

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, UNDONE, BAD_USE = 0, 1, 2
EXPORT = "Writes messages of both stores to a file: devices by name, their messages in the order of publication."
IMPORT = "Writes the messages of an export into an installation, empty or in use. Running it again does no harm."
CHECK = (
    "Looks whether views, histories, log and MongoDB agree, and says where not. "
    "Exit status 0: no difference; 1: there are some, or it could not be looked at."
)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 not done or differences found, 2 not understood."""
    options = _parser().parse_args(arguments)
    try:
        configuration = settings.load(os.environ, "store")  # noqa: TID251  an entry point
    except settings.SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return BAD_USE
    try:
        return int(options.run(configuration, options))
    except redis.RedisError as error:
        return _fail(f"Redis does not do it: {error}. {options.advice}")
    except (PyMongoError, LongHistoryUnavailable) as error:
        return _fail(f"MongoDB does not do it: {error}. {options.advice}")
    except (OutputError, InputError, ChangingError, FullError) as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever reads it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNDONE
    except OSError as error:
        return _fail(f"{error or 'Redis does not answer in time'}. {options.advice}")
    except KeyboardInterrupt:
        return _fail(f"Interrupted. {options.advice}")


def _fail(message: str) -> int:
    sys.stderr.write(f"\n{message}\n")
    return UNDONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m store", description="Works on the stores that REDIS_URL and MONGO_URL name."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_export(commands.add_parser("export", help="write messages to a file", description=EXPORT))
    _add_import(commands.add_parser("import", help="read messages from a file", description=IMPORT))
    _add_check(commands.add_parser("check", help="look whether all views agree", description=CHECK))
    return parser


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format", choices=FORMATS, default="ndjson", help="ndjson (the default) can be imported again"
    )
    command.add_argument("--device", action="append", default=[], help="only this device; may be given several times")
    command.add_argument("--search", default="", metavar="PREFIX", help="only devices whose name begins with this")
    command.add_argument("--topic", default="", metavar="FILTER", help="only topics that this topic filter matches")
    for name, default, meaning in (
        ("from", 0, "received at this time or later"),
        ("to", MAX_TIME_MS + 1, "received before"),
    ):
        help_text = f"only messages {meaning}: 2026-01-31T12:00:00Z, or milliseconds since the epoch"
        command.add_argument(
            f"--{name}", type=_time, default=default, dest=f"{name}_ms", metavar="TIME", help=help_text
        )
    command.add_argument(
        "--output", default="-", metavar="FILE", help="where to write; - (the default): standard output"
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--after", type=_place, metavar="DEVICE,ID", help="only what follows this message in an export")
    where.add_argument("--resume", action="store_true", help="go on behind the last complete line of FILE")
    command.set_defaults(run=_export, advice="What is written is whole lines: go on with --output FILE --resume.")


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="what an export wrote as NDJSON; -: standard input")
    command.add_argument(
        "--skip-bad", action="store_true", help="leave out lines that cannot be imported, and say which"
    )
    command.set_defaults(run=_import, advice="Run the import again: what is imported already is left as it is.")


def _import(configuration: settings.Settings, options: argparse.Namespace) -> int:
    import_(configuration, options.file, skips_bad=options.skip_bad)
    return DONE


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--repair", action="store_true", help="set right what can be counted anew")
    command.set_defaults(run=_check, advice="Run the check again.")


def _check(configuration: settings.Settings, options: argparse.Namespace) -> int:
    return UNDONE if check(configuration, repairs=options.repair) else DONE


def _export(configuration: settings.Settings, options: argparse.Namespace) -> int:
    selection = Selection(
        devices=frozenset(options.device),
        search=options.search,
        topic=options.topic,
        from_ms=options.from_ms,
        to_ms=options.to_ms,
        after=options.after,
    )
    export(configuration, selection, options.format, options.output, is_resumed=options.resume)
    return DONE


def _time(text: str) -> int:
    try:
        return parse_time_ms(text)
    except ValueError:
        _refuse(f"{text!r} is not a time as in 2026-01-31T12:00:00Z, nor milliseconds since the epoch")


def _place(text: str) -> Place:
    try:
        return Place.parse(text)
    except ValueError:
        _refuse(f"{text!r} is not DEVICE,ID as in sensor-1,1769860800000-65536")


def _refuse(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
