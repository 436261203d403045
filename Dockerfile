# The plugin alone; Envoy and Redis run beside it. docker build -t gateway-plugin .
FROM python:3.12-slim AS dependencies
COPY requirements-run.lock /
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /requirements-run.lock

FROM python:3.12-slim
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY deploy/envoy deploy/envoy
COPY protos protos
COPY routing routing
COPY ratelimit ratelimit
COPY orchestration orchestration
COPY simulator simulator
COPY kube kube
COPY gateway_plugin gateway_plugin
COPY pyproject.toml .
RUN printf '#!/bin/sh\nexec python -m gateway_plugin "$@"\n' > /usr/local/bin/gateway-plugin \
    && printf '#!/bin/sh\nexec python -c "from gateway_plugin.runtime.runtime_command import main; main()" "$@"\n' \
        > /usr/local/bin/aibrix_runtime \
    && printf '#!/bin/sh\nexec python -c "from gateway_plugin.runtime.download_command import main; main()" "$@"\n' \
        > /usr/local/bin/aibrix_download \
    && chmod +x /usr/local/bin/gateway-plugin /usr/local/bin/aibrix_runtime /usr/local/bin/aibrix_download \
    && /opt/venv/bin/python -m compileall -q /app
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 50052 8080 8090
# Alive, not ready: a container without Redis is no reason to kill it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["gateway-plugin", "healthcheck"]
CMD ["gateway-plugin", "serve"]
