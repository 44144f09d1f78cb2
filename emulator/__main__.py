"""Entry point: `python -m emulator fleet …`. See `python -m emulator fleet --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from emulator.fleet import arguments
from emulator.fleet.fleet import FirstConnectionError, Fleet


def main(argv: list[str]) -> int:
    """Run the emulator that `argv` asks for and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description="Emulate what connects to the broker.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    fleet_parser = kinds.add_parser("fleet", help="devices that publish telemetry", description=arguments.DESCRIPTION)
    arguments.add_to(fleet_parser)
    given = parser.parse_args(argv)
    try:
        options = arguments.read(given, os.environ)  # noqa: TID251  an entry point hands the environment on
    except ValueError as error:
        fleet_parser.error(str(error))
    return run_fleet(options)


def run_fleet(options: arguments.Options) -> int:
    """Run one fleet to its end: 0 when the broker acknowledged all it should have, else 1."""
    try:
        return asyncio.run(Fleet(options).run())
    except FirstConnectionError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
