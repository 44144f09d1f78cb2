"""Entry point: `python -m emulator fleet …`, `… gateway …` and `… hostile …`; each has a --help."""

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
from emulator.hostile import arguments as hostile_arguments
from emulator.hostile import report as hostile_report
from emulator.hostile import run as hostile_run


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
    hostile_parser = kinds.add_parser(
        "hostile", help="attacks on a broker, and what others notice", description=hostile_arguments.DESCRIPTION
    )
    hostile_arguments.add_to(hostile_parser)
    parsers = {"fleet": fleet_parser, "gateway": gateway_parser, "hostile": hostile_parser}
    given = parser.parse_args(argv)
    environ = os.environ  # noqa: TID251  an entry point hands the environment on
    try:
        if given.kind == "gateway":
            return run_gateway(gateway_arguments.read(given, environ))
        if given.kind == "hostile":
            return run_hostile(hostile_arguments.read(given, environ))
        options = arguments.read(given, environ)
    except ValueError as error:
        parsers[given.kind].error(str(error))
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


def run_hostile(options: hostile_arguments.Options) -> int:
    """Run the attacks, or list them: 0 when all are ok, else 1."""
    if options.is_list:
        print(hostile_report.scenario_list())
        return 0
    return 0 if hostile_run.run(options) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
