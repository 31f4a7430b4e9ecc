"""Command line of the sandbox: ``python -m sandbox install`` and ``python -m sandbox start``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.installation import DEFAULT_HOME, Installation, InstallError, NotInstalledError, install
from sandbox.instance import StartError
from sandbox.lifecycle import Sandbox
from sandbox.log_settings import LOG_SETTING_NAMES, LOG_SETTINGS
from sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status."""
    options = _parse(arguments)
    try:
        installation = Installation(home=options.home.resolve())
        if options.command == "install":
            install(installation, lambda line: print(line, flush=True))
        else:
            _start(options, installation)
    except (InstallError, NotInstalledError, StartError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=sys.modules["sandbox"].__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install_parser = commands.add_parser("install", help="install Airflow (once; about a minute)")
    start_parser = commands.add_parser("start", help="run until SIGINT or SIGTERM")
    for command in (install_parser, start_parser):
        command.add_argument("--home", type=Path, default=DEFAULT_HOME, help="default: .sandbox in the project")
    start_parser.add_argument("--dags", type=Path, help="DAG folder, used live; default: a copy of the sample DAGs")
    start_parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    start_parser.add_argument("--port", type=int, default=0, help="port to listen on; default: a free one")
    start_parser.add_argument("--no-scheduler", action="store_true", help="nothing runs; starts sooner")
    start_parser.add_argument("--command-api", choices=["/api/v1", "/api/v2"], help="default: where Airflow's REST API is")
    start_parser.add_argument(
        "--needs-token", action="store_true", help="Airflow 3: the session alone does not open the REST API"
    )
    start_parser.add_argument(
        "--reads-published", action="store_true", help="Airflow reads the published copy of the workspace, not the workspace"
    )
    start_parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of Airflow's environment; may be repeated"
    )
    start_parser.add_argument("--log", choices=LOG_SETTING_NAMES, default="default", help="how the owner has set Airflow's log")
    start_parser.add_argument("--ready-file", type=Path, help="when ready, write what to set here, as JSON")
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace, installation: Installation) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    started = time.monotonic()
    if options.dags is not None and not options.dags.is_dir():
        raise StartError(f"--dags {options.dags}: no such folder")
    variables = dict(one.partition("=")[::2] for one in options.set)
    with Sandbox.start(
        dags=options.dags,
        host=options.listen,
        port=options.port,
        installation=installation,
        with_scheduler=not options.no_scheduler,
        command_api=options.command_api or "",
        needs_token=options.needs_token,
        reads_published=options.reads_published,
        settings=LOG_SETTINGS[installation.version][options.log] | Settings(variables=variables),
    ) as sandbox:
        print(
            f"Airflow {sandbox.airflow_version} ready after {time.monotonic() - started:.1f} s: endpoint={sandbox.endpoint} "
            f"instance-id={sandbox.instance_id} access-key-id={sandbox.access_key_id} "
            f"access-key-secret={sandbox.access_key_secret} (DAGs in {sandbox.dags_folder}; Ctrl-C stops)",
            flush=True,
        )
        # The signal may come as soon as the file exists: before the code after that line has begun.
        with suppress(KeyboardInterrupt), ExitStack() as stack:
            if options.ready_file is not None:
                stack.callback(options.ready_file.unlink, missing_ok=True)
                _write_ready_file(options.ready_file, sandbox)
            signal.pause()


def _interrupt(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # once is enough: the clean-up is not to be interrupted
    raise KeyboardInterrupt


def _write_ready_file(path: Path, sandbox: Sandbox) -> None:
    """Write a file that is whole from the moment it exists."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(sandbox.to_json(), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
