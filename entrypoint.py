#!/usr/local/bin/python -Esu
"""The action's image runs this: the command of the package in the same folder."""

from __future__ import annotations

from dms_airflow.command import main

if __name__ == "__main__":
    main()
