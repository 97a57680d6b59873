# ebb-serving: Knative Serving's API as a translator to annotated Services.
#
# From source, in the root of the repository:
#   docker build --target from-source -f deploy/images/serving.Dockerfile -t ebb/serving:0.1.0 .
# From an existing static binary, with its folder as the context:
#   docker build -f deploy/images/serving.Dockerfile -t ebb/serving:0.1.0 target/x86_64-unknown-linux-gnu/dist
#
# The images' files differ only in this header and in three names (image, program, package); deploy/check verifies that.

# The compiler runs on the builder's own architecture and cross-compiles for the image's: under emulation it would take
# hours.
FROM --platform=$BUILDPLATFORM rust:1.95.0-slim AS build
ARG TARGETARCH
# Use the toolchain of this image, so that rust-toolchain.toml does not download another one with its components.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
RUN set -eu; \
    own=$(dpkg --print-architecture); arch=${TARGETARCH:-$own}; \
    case "$arch" in \
      amd64) echo x86_64-unknown-linux-gnu ;; \
      arm64) echo aarch64-unknown-linux-gnu ;; \
      *) echo "there is no image for $arch: take amd64 or arm64" >&2; exit 1 ;; \
    esac >/triple; \
    if [ "$arch" != "$own" ]; then \
      rustup target add "$(cat /triple)"; \
      apt-get update; apt-get install --yes --no-install-recommends "crossbuild-essential-$arch"; \
      rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
COPY . .
# Static, so that the image needs no C library. One program at a time, so that each has only the features that it
# enables.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --profile dist --locked --target "$(cat /triple)" --package ebb-serving --bin ebb-serving && \
    cp "target/$(cat /triple)/dist/ebb-serving" /ebb-serving

# Common to both ways. No shell, no libraries; the user is a number, which Kubernetes can verify is not root.
FROM scratch AS base
LABEL org.opencontainers.image.title="ebb/serving" org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
ENTRYPOINT ["/ebb-serving"]

FROM base AS from-source
COPY --from=build /ebb-serving /ebb-serving

# The last stage, which is the default target: no compiler, nothing to download.
FROM base
COPY ebb-serving /ebb-serving
