# The image of streamapp's workers and commands. Targets:
#   docker build --target cpu  -t streamapp:cpu .
#   docker build --target cuda -t streamapp:cuda .
#   docker build --target with-models -t streamapp:cpu-with-models .   (the cpu one and the models' files)
#
# The base image is pinned by its tag; by its digest with
#   --build-arg PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:…   (docker buildx imagetools inspect shows it)
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm
# What with-models is built on: cpu or cuda.
ARG DEVICE=cpu


FROM ${PYTHON_IMAGE} AS requirements
WORKDIR /build
COPY pyproject.toml tools/image_requirements.py ./
RUN python image_requirements.py pyproject.toml requirements


# An empty virtual environment at the path that it has in the image, for what is in it names that path.
FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv


# The dependencies, some GB with torch: made anew only when these files change, never by a change of the code.
FROM environment AS dependencies-cpu
# PyPI's torch for x86-64 carries CUDA's libraries, some GB that a CPU never uses. A package index with the CPU
# builds of torch and torchvision, which PyTorch's installation page names, leaves them out.
ARG TORCH_INDEX_URL=""
COPY --from=requirements /build/requirements/cpu.txt /build/requirements/bare.txt /build/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$TORCH_INDEX_URL" ]; then \
        /opt/venv/bin/pip install --index-url "$TORCH_INDEX_URL" torch torchvision; \
    fi \
    && /opt/venv/bin/pip install --requirement /build/requirements/cpu.txt \
    && /opt/venv/bin/pip install --no-deps --requirement /build/requirements/bare.txt

# CUDA and cuDNN come as wheels with torch and onnxruntime-gpu; of NVIDIA the host gives the driver alone.
FROM environment AS dependencies-cuda
COPY --from=requirements /build/requirements/cuda.txt /build/requirements/bare.txt /build/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --requirement /build/requirements/cuda.txt \
    && /opt/venv/bin/pip install --no-deps --requirement /build/requirements/bare.txt
# Each major of CUDA has a cuDNN wheel of its own, and all write nvidia/cudnn/lib/libcudnn.so.9: pip would let torch
# and onnxruntime-gpu bring two.
RUN /opt/venv/bin/python -c "import torch; from onnxruntime.capi import build_and_package_info as ort; \
    majors = {str(version).split('.')[0] for version in (torch.version.cuda, ort.cuda_version)}; \
    assert len(majors) == 1, f'torch is for CUDA {torch.version.cuda}, onnxruntime-gpu for {ort.cuda_version}'"


# The code: one wheel for all targets, unpacked beside the environment that it is copied into.
FROM environment AS code
WORKDIR /build
COPY pyproject.toml README.md ./
COPY streamapp/ streamapp/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/venv/bin/pip install --no-deps --prefix /code /wheels/streamapp-*.whl


# All that the targets share and that no build step changes.
FROM ${PYTHON_IMAGE} AS runtime
# tini as PID 1 hands signals on and collects the decoder processes of a worker that was killed.
# Debian keeps one version of a package per release: a pinned one would be gone with the next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 streamapp \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin streamapp \
    && install --directory --owner 10001 --group 10001 /models
# The root file system may be read-only, with a tmpfs at /tmp, which torch's import asks for and `streamapp models
# fetch` uses. The models' files and CLIP's encoded texts go to /models; where a worker may not write there, it
# encodes its texts at each start. onnxruntime (from 1.29 on) would send events to Microsoft, the hub's client some
# to its makers.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMAPP_MODEL_CACHE=/models \
    STREAMAPP_WEB_HOST=0.0.0.0 \
    STREAMAPP_WEB_PORT=6066
WORKDIR /app
USER 10001:10001
EXPOSE 6066
STOPSIGNAL SIGTERM
# /live and not /ready: a worker that waits for its broker must not be restarted for it. Through no proxy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["python", "-c", \
    "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['STREAMAPP_WEB_PORT']), timeout=4); c.request('GET', '/live'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "streamapp"]
CMD ["worker"]
ARG VERSION="" REVISION="" CREATED="" SOURCE=""
LABEL org.opencontainers.image.title="streamapp" \
      org.opencontainers.image.description="Real-time moderation of profile pictures on Kafka" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE"


FROM runtime AS cuda
# What the NVIDIA container runtime mounts into the container: the driver's libraries for computing.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies-cuda /opt/venv /opt/venv
COPY --from=code /code /opt/venv


FROM runtime AS cpu
COPY --from=dependencies-cpu /opt/venv /opt/venv
COPY --from=code /code /opt/venv


# The files of the chosen models inside the image: for machines that reach no model hub.
FROM ${DEVICE} AS with-models
ARG STREAMAPP_MODELS=nudenet,mfd,clip,coop
RUN --mount=type=tmpfs,target=/tmp streamapp models fetch


# Without --target.
FROM cpu
