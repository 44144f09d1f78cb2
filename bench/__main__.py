"""`python -m bench`: measure our broker and its peers in turn, and print the ratios.

Rounds go round-robin over the brokers, so that whatever else the machine does hits all of them alike; each figure is the
median of its rounds, and each broker is started afresh for each measurement.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys

from bench import report
from bench.brokers import BROKERS
from bench.measure import MEASUREMENTS, Measurement, NotMeasuredError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median counts (default: %(default)s)")
    parser.add_argument(
        "--brokers", nargs="+", choices=BROKERS, default=list(BROKERS), help="the first is compared with the others"
    )
    keys = [each.key for each in MEASUREMENTS]
    parser.add_argument("--only", nargs="+", choices=keys, default=keys, help="measurements to make")
    return parser.parse_args()


def _allow_many_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(measurement: Measurement, name: str, seconds: float) -> float:
    """Measure on a broker started for this alone. Raises NotMeasuredError or RuntimeError when there is no figure."""
    broker = BROKERS[name]()
    try:
        broker.start()
        return measurement.run(broker, seconds)
    finally:
        broker.stop()


def _round(measurement: Measurement, name: str, seconds: float, rounds: report.Rounds, failures: list[str]) -> None:
    try:
        rounds[measurement.key][name].append(_run(measurement, name, seconds))
        print(".", end="", file=sys.stderr, flush=True)
    except (NotMeasuredError, RuntimeError) as error:
        failures.append(f"{measurement.key}, {name}: {error}")
        print("!", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run, print, write; return 1 when something could not be measured."""
    asked = _arguments()
    _allow_many_descriptors()
    measurements = [each for each in MEASUREMENTS if each.key in asked.only]
    names = [name for name in asked.brokers if name != "aedes+xadd" or shutil.which("node")]
    rounds: report.Rounds = {each.key: {name: [] for name in names} for each in measurements}
    failures: list[str] = []
    for each in measurements:
        for _ in range(asked.rounds):
            for name in names:
                if issubclass(BROKERS[name], each.only):
                    _round(each, name, asked.seconds, rounds, failures)
    print(file=sys.stderr)
    print(report.table(measurements, names, rounds))
    for failure in failures:
        print("not measured:", failure)
    print("written:", report.write(rounds, asked.seconds, failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
