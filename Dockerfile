# The programs on hosts with CPUs, or with --build-arg DEVICE=gpu on hosts with NVIDIA GPUs (their driver and NVIDIA's
# container toolkit are the host's). For x86-64: the packages are locked with their SHA-256 (scripts/lock.sh).
#   docker build -t edvr .
#   docker run --rm edvr edvr.train --help
#   docker run --rm -v DATA:/data:ro -v RUNS:/runs edvr edvr.train --data_dir=/data/tfrecords --model_dir=/runs/edvr
FROM python:3.11-slim-bookworm
ARG DEVICE=cpu
# g++ stays: on another processor than that of the build the programs build their operators again, once
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home edvr
COPY requirements/locked/$DEVICE.txt /tmp/locked.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/locked.txt
COPY . /tmp/edvr
RUN pip install --no-cache-dir --no-deps --no-build-isolation /tmp/edvr \
    && rm -rf /tmp/edvr /tmp/locked.txt
USER 1000:1000
WORKDIR /home/edvr
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python -m edvr.build_ops
ENTRYPOINT ["python", "-m"]
CMD ["edvr.train", "--help"]
