# The action's image. Checked by tests/container, its size explained in docs/development/image.md. Works with the classic
# builder and with BuildKit: no `RUN --mount`, no heredocs.
FROM python:3.13-slim-trixie@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f AS build

# What is locked is installed first, so that a change of our code repeats little. Some packages are published as source only:
# what builds them is locked too, and is left behind in this stage. The lock is whole but for what nothing of ours imports
# (requirements-excludes.txt), hence --no-deps. Out go the packages' commands, tests and what only compilers read.
COPY requirements-build.txt requirements.txt /
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps \
    -r /requirements-build.txt \
    && python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps \
    --no-build-isolation --no-compile --target /image/usr/local/lib/python3.13/site-packages -r /requirements.txt \
    && cd /image/usr/local/lib/python3.13/site-packages \
    && rm -rf bin \
    && find . -depth -type d -name tests -exec rm -rf {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \) -delete

COPY LICENSE entrypoint.py /image/app/
COPY dms_airflow /image/app/dms_airflow
# Other CI systems start a shell in the image, which finds the command by its name.
RUN mkdir -p /image/usr/local/bin && ln -s /app/entrypoint.py /image/usr/local/bin/dms-airflow

FROM python:3.13-slim-trixie@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f

COPY --from=build /image/ /

# Nothing is ever installed here: out goes pip. The official image has no bytecode, not even of Python's own library
# (https://github.com/docker-library/python/blob/master/Dockerfile-linux.template). What has none is compiled in every step of every
# job, since a container's files are gone when it ends. The four packages that are left out are programs and their texts. Its library
# need not be in the folder of the packages: Debian's Python has it elsewhere.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.13/site-packages/pip* /usr/local/lib/python3.13/ensurepip \
    && python -B -m compileall -q --invalidation-mode unchecked-hash -x '/(idlelib|pydoc_data|tkinter|turtledemo)/' \
    /app /usr/local/lib/python3.13 "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# Root, as GitHub requires: https://docs.github.com/actions/reference/workflows-and-actions/dockerfile-support
# -E ignores the job's PYTHON* variables, -s the user's site-packages, -u keeps masks ahead of what they mask. Absolute paths in
# exec form: the job's PATH and working directory mean nothing, and no shell drops variables with a hyphen in their name.
ENTRYPOINT ["/usr/local/bin/python", "-Esu", "/app/entrypoint.py"]
