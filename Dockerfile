# The action's image. Checked by tests/container. Works with the classic builder and with BuildKit.
FROM python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

# What is locked is installed first, so that a change of our code rebuilds the last layers only. pip compiles the bytecode:
# no step of a user's workflow waits for it.
COPY requirements.txt /app/requirements.txt
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r /app/requirements.txt

COPY entrypoint.py /app/entrypoint.py
COPY dms_airflow /app/dms_airflow
RUN python -m compileall -q /app

# Root, as GitHub requires: https://docs.github.com/actions/reference/workflows-and-actions/dockerfile-support
# -E ignores the job's PYTHON* variables, -s the user's site-packages, -u keeps masks ahead of what they mask. Absolute paths in
# exec form: the job's PATH and working directory mean nothing, and no shell drops variables with a hyphen in their name.
ENTRYPOINT ["/usr/local/bin/python", "-Esu", "/app/entrypoint.py"]
