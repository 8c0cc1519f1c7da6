# Livehead in a container: what scripts/serve runs, from the same lock, as a user without rights.
#
#   docker build --tag livehead .
#   docker run --rm --publish 8000:8000 --env LIVEHEAD_API_KEY=... livehead
#
# In a container it listens beyond loopback, which it refuses without a key. For this machine alone:
#
#   docker run --rm --publish 127.0.0.1:8000:8000 --env LIVEHEAD_ALLOW_ANYONE=true livehead
#
# PIP_EXTRA_INDEX_URL may name PyTorch's CPU index; without it, pip's default build is taken, which
# may be the one for CUDA and several gigabytes larger.

FROM python:3.11.14-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.lock /src/
RUN /venv/bin/pip install --requirement /src/requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY models /src/models
COPY server /src/server
COPY client_demo /src/client_demo
RUN /venv/bin/pip install --no-deps --no-build-isolation /src

FROM python:3.11.14-slim-bookworm
RUN useradd --create-home --uid 10001 --user-group livehead
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /home/livehead
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["livehead"]
CMD ["serve", "--host", "0.0.0.0"]
