"""Runs every benchmark, or those that are named: ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import sys

from benchmarks import deploy, growth, image, import_errors, lists, long_responses, one_command, report_files, waiting

BENCHMARKS = {
    "command": one_command.main,
    "deploy": deploy.main,
    "growth": growth.main,
    "image": image.main,
    "import-errors": import_errors.main,
    "lists": lists.main,
    "long-responses": long_responses.main,
    "report-files": report_files.main,
    "waiting": waiting.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
        print(flush=True)
