"""Entry point: `python -m emulator fleet …` and `python -m emulator gateway …`; each has a --help."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import ExitStack

from emulator.fleet import arguments
from emulator.fleet.fleet import FirstConnectionError, Fleet
from emulator.gateway import arguments as gateway_arguments
from emulator.gateway.control import ControlError, ask
from emulator.gateway.formation import ActionError
from emulator.gateway.gateway import Gateway, GatewayError


def main(argv: list[str]) -> int:
    """Run the emulator that `argv` asks for and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description="Emulate what surrounds the broker.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    fleet_parser = kinds.add_parser("fleet", help="devices that publish telemetry", description=arguments.DESCRIPTION)
    arguments.add_to(fleet_parser)
    gateway_parser = kinds.add_parser(
        "gateway", help="the platform's TCP Gateway and its containers", description=gateway_arguments.DESCRIPTION
    )
    gateway_arguments.add_to(gateway_parser)
    given = parser.parse_args(argv)
    environ = os.environ  # noqa: TID251  an entry point hands the environment on
    try:
        if given.kind == "gateway":
            return run_gateway(gateway_arguments.read(given, environ))
        options = arguments.read(given, environ)
    except ValueError as error:
        (gateway_parser if given.kind == "gateway" else fleet_parser).error(str(error))
    return run_fleet(options)


def run_fleet(options: arguments.Options) -> int:
    """Run one fleet to its end: 0 when the broker acknowledged all it should have, else 1."""
    try:
        return asyncio.run(Fleet(options).run())
    except FirstConnectionError as error:
        print(error, file=sys.stderr)
        return 1


def run_gateway(options: gateway_arguments.Options) -> int:
    """Run one gateway to its end, or have the running one do something: 0 when that went well, else 1."""
    try:
        if options.action is not None:
            print(ask(options.control, options.action))
            return 0
        with ExitStack() as opened:
            asyncio.run(Gateway(options, opened).run())
    except (GatewayError, ControlError, ActionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
