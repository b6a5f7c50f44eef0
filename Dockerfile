# The image of worker, beat, callbacks, console and command line: the same image, another command.
#
#   docker build -t recharge-reconciler:2.0.0 .
#
# The base needs Python 3.11 or newer with venv, and authorities for TLS (in Debian: python3-venv, ca-certificates). For
# one of your own: --build-arg BASE=registry.example.internal/python:3.13-slim
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The commands are those of docs/deployment.md ("Install"), which a test checks. The pinned packages come first: this
# layer is built again only when a pin changes.
COPY requirements/build.txt requirements/web.txt requirements/
RUN python3 -m venv --clear build/env \
    && build/env/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements/build.txt \
    && python3 -m venv /opt/reconciler \
    && /opt/reconciler/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements/web.txt
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY worker worker
COPY migrations migrations
RUN build/env/bin/pip wheel --no-deps --no-build-isolation --wheel-dir build/env/wheels . \
    && /opt/reconciler/bin/pip install --no-deps build/env/wheels/*.whl

FROM ${BASE}
# Fixed ids, so that the owner of a mounted file can be named.
RUN groupadd --gid 10001 reconciler \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin reconciler \
    && install --directory --owner=10001 --group=10001 /app /app/users
COPY --from=build /opt/reconciler /opt/reconciler
ENV PATH=/opt/reconciler/bin:$PATH PYTHONUNBUFFERED=1 RECONCILER_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
# Whether this container's worker ticks, as the database has it: unhealthy only where the database says that it does not.
# The other programs have no worker: docker-compose.yml and deploy/ give them another health check, or none.
HEALTHCHECK --interval=60s --timeout=30s --start-period=30s --retries=3 CMD ["reconciler", "health"]
# On SIGTERM Celery finishes the query that is under way: stop it with a timeout above the request's deadline
# (docker stop --time 75).
CMD ["celery", "-A", "worker", "worker"]
