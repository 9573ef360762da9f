# For those who have a container engine; `make image` writes the same image without one.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --target mesh -t REGISTRY/mesh .
#   docker buildx build --platform linux/amd64,linux/arm64 --target mesh-operator -t REGISTRY/mesh-operator .
FROM rust:1.95.0-bookworm AS build
ARG TARGETPLATFORM
# The compiler that is here, as rust-toolchain.toml pins it, without the components that only people need.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# Each platform builds itself: nothing is tied to one processor.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,id=target-$TARGETPLATFORM \
    host=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" -p mesh -p mesh-operator && \
    mkdir -p /out/home && cp target/"$host"/release/mesh target/"$host"/release/mesh-operator /out/

FROM scratch AS mesh-operator
COPY --from=build /out/mesh-operator /bin/mesh-operator
USER 65532:65532
ENTRYPOINT ["/bin/mesh-operator"]
CMD ["run"]

FROM scratch AS mesh
COPY --from=build --chown=65532:65532 /out/home/ /mesh/
COPY --from=build /out/mesh /bin/mesh
ENV MESH_HOME=/mesh
USER 65532:65532
ENTRYPOINT ["/bin/mesh"]
CMD ["start", "--server"]
