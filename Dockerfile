# One binary, one target for each role: api, ui, consumer, load, bootstrap.
#
#   docker build --target api --tag cachefront-simulator:api .
#
# Builder and runtime are of the same Debian, so that what the binary links with is there.
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-trixie AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libssl-dev make pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV CARGO_INCREMENTAL=0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --example simulator \
    && cp target/release/examples/simulator /simulator
# A library that the runtime image lacks (it has glibc, libgcc, libstdc++, OpenSSL, zlib, zstd) fails the build here, not
# the container at its start.
RUN ldd /simulator > /libraries \
    && ! grep --invert-match --extended-regexp 'linux-vdso|ld-linux|lib(c|m|gcc_s|stdc\+\+|ssl|crypto|z|zstd)\.so' /libraries

FROM gcr.io/distroless/cc-debian13:nonroot AS runtime
COPY --from=build --chmod=0555 /simulator /usr/local/bin/simulator
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# For what the panel keeps: BuildKit makes a directory for the user above, and so a new volume there is this user's, too.
WORKDIR /data
WORKDIR /home/nonroot
ENTRYPOINT ["/usr/local/bin/simulator"]

FROM runtime AS ui
ENV CACHEFRONT_UI_ADDR=0.0.0.0:8501 CACHEFRONT_DATA_DIR=/data
EXPOSE 8501
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=6 \
    CMD ["/usr/local/bin/simulator", "healthcheck", "--url", "http://127.0.0.1:8501/healthz"]
CMD ["ui"]

FROM runtime AS consumer
ENV CACHEFRONT_CONSUMER_ADDR=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=6 \
    CMD ["/usr/local/bin/simulator", "healthcheck", "--url", "http://127.0.0.1:8080/healthz"]
CMD ["consumer"]

# Runs to its end; its exit code says whether the thresholds were kept.
FROM runtime AS load
HEALTHCHECK NONE
CMD ["load"]

# Runs to its end: registers Debezium's connector and waits until it runs.
FROM runtime AS bootstrap
HEALTHCHECK NONE
CMD ["bootstrap"]

# The last one, so that a build without a target gives the API.
FROM runtime AS api
ENV CACHEFRONT_API_ADDR=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=6 \
    CMD ["/usr/local/bin/simulator", "healthcheck", "--url", "http://127.0.0.1:8000/healthz"]
CMD ["api"]
