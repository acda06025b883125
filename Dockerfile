# The image of all roles: `accel` as a command, Node 24, production files.
#
# The base is node:24-slim by the digest of its index, which has all platforms. Renew it with
#   skopeo inspect --format '{{.Digest}}' docker://docker.io/library/node:24-slim
# Nothing runs in the last stage, so that images of other platforms are built without emulation:
#   docker buildx build --platform linux/amd64,linux/arm64 .
ARG BASE=docker.io/library/node:24-slim@sha256:a9f5f7c91a432850b2a8a7797adf5eadb6c733ceed61167806cee7ea7fbc29df

FROM --platform=${BUILDPLATFORM:-} ${BASE} AS build
WORKDIR /source
COPY . .
RUN npm ci --ignore-scripts --no-fund --no-audit && npm run build && node dist/scripts/stage-image.js /opt/accel

FROM ${BASE}
COPY --from=build /opt/accel /opt/accel
ENV PATH=/opt/accel/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    NODE_ENV=production
# No name: a node need not know it. Agents run as root, which their pods say.
USER 65532:65532
ENTRYPOINT ["accel"]
CMD ["help"]
LABEL org.opencontainers.image.title=accel \
      org.opencontainers.image.description="Converts container images into images that start before they are downloaded" \
      org.opencontainers.image.licenses=Apache-2.0
