"""Entry point: `python -m local`, which `make run` calls. Runs what the Procfile in this folder says.

`python -m local platform`, which `make platform` calls, puts the emulated TCP Gateway and three brokers in place of one.

    MQTT_PORT, WEB_PORT   ports on 127.0.0.1 (1883, 8000)
    DEMO=0                no demo fleet
    DATA_DIR              where the store's data and the generated credentials are kept (.data)
    REDIS_URL             use this store instead of an embedded one

Every setting of the application (docs/settings.md) may be set as well.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.behind_gateway import behind_gateway
from local.launcher import Launcher
from local.plan import LaunchError, make_plan


def main(*, is_platform: bool) -> int:
    """Run the application; return 0 when a signal ended it, 1 when it could not start or a process ended by itself."""
    environ = dict(os.environ)  # noqa: TID251  an entry point hands the environment on
    try:
        plan = make_plan(Path.cwd(), environ)
        if is_platform:
            plan = behind_gateway(plan)
        Launcher(plan, is_coloured=sys.stdout.isatty() and "NO_COLOR" not in environ).run()
    except LaunchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["platform"]):
        sys.exit("usage: python -m local [platform]")
    sys.exit(main(is_platform=len(sys.argv) > 1))
