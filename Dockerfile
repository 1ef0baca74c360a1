# forebay in an image that holds one static binary and nothing else.
#
#   docker build -t forebay .
#   # the folder holds forebay.toml
#   docker run --rm --read-only -p 8080:8080 -v /folder/with/your/config:/etc/forebay:ro forebay
#
# The binary is built for the platform that the image is for (amd64 or arm64).

FROM rust:1.95.0-slim-bookworm AS builder
RUN apt-get update \
    && apt-get install -y --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/*
ARG TARGETARCH
RUN case "${TARGETARCH:-amd64}" in \
        amd64) echo x86_64-unknown-linux-musl ;; \
        arm64) echo aarch64-unknown-linux-musl ;; \
        *) echo "no image for ${TARGETARCH}" >&2; exit 1 ;; \
    esac > /target && rustup target add "$(cat /target)"
WORKDIR /src
COPY . .
# mimalloc and aws-lc are C: the compiler for the target is musl's wrapper around gcc.
# A folder for each profile (.cargo): Cargo would not compile the dependencies anew for another one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    export CARGO_TARGET_DIR="target/$(sha256sum .cargo/*.profdata | cut -c 1-12)" TARGET_CC=musl-gcc \
    && cargo build --release --locked --bin forebay --target "$(cat /target)" \
    && cp "$CARGO_TARGET_DIR/$(cat /target)/release/forebay" /forebay

FROM scratch
LABEL org.opencontainers.image.title="forebay" \
      org.opencontainers.image.description="A reverse-proxy sidecar that evens out what reaches a slow, expensive HTTP backend" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder /forebay /forebay
# Nobody, by number: there is no /etc/passwd. Nothing needs to be writable.
USER 65532:65532
# The configuration is mounted at /etc/forebay/forebay.toml. The admin listener stays on 127.0.0.1:9090 inside.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/forebay", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/forebay"]
CMD ["run"]
