"""GitLab: folded sections of the log, and outputs as a dotenv report.

https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from dms_airflow.ci.system import CiSystem

# GitLab refuses a file of more than 5 KB, and with it the whole report.
MOST_BYTES = 5000
# No quotes, no line ends, and nothing that GitLab would expand.
_HARMLESS = re.compile(r"[\w.,:/+@%~?&=-]*", re.ASCII)


class GitLab(CiSystem):
    """GitLab's runner."""

    _sections = 0

    def write_outputs(self, outputs: Mapping[str, str]) -> None:
        """Write the short outputs as variables for later jobs: `run-id` is ``DMS_AIRFLOW_OUTPUT_RUN_ID``."""
        if self.runner.output_file is None:
            return
        lines, room = [], MOST_BYTES
        for name, value in outputs.items():
            line = f"DMS_AIRFLOW_OUTPUT_{name.upper().replace('-', '_')}={self._secrets.redact(value)}\n"
            if _HARMLESS.fullmatch(value) and len(line) <= room:
                lines.append(line)
                room -= len(line)
        self.write_file(self.runner.workspace / self.runner.output_file, lines)

    def _begin_fold(self, title: str) -> None:
        self._sections += 1
        self._mark("start", "[collapsed=true]", title)

    def _end_fold(self) -> None:
        self._mark("end", "", "")

    def _mark(self, what: str, options: str, title: str) -> None:
        self._stdout.write(f"\x1b[0Ksection_{what}:{int(time.time())}:dms_airflow_{self._sections}{options}\r\x1b[0K{title}\n")
        self._stdout.flush()
