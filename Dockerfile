# One image for the server and the workers. The torch of the package index runs on the CPU, and on a
# GPU where the container has one. `--build-arg TORCH_INDEX=<url>` takes it from another index: that
# of builds for the CPU alone makes the image some GB smaller, others have another CUDA.
FROM python:3.11-slim
ARG TORCH_INDEX=

RUN useradd --create-home --uid 10001 pareconv
WORKDIR /opt/pareconv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY search search
COPY service service
COPY storage storage
# torch and torchvision come from one index: of two they would not fit each other.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --constraint constraints.txt --no-deps \
            --index-url "$TORCH_INDEX" torch torchvision; fi \
    && pip install --no-cache-dir --constraint constraints.txt ".[s3]"

USER pareconv
ENV PARECONV_HOME=/home/pareconv/data
# A volume that is made here has the rights of this folder.
RUN mkdir -p "$PARECONV_HOME"
VOLUME /home/pareconv/data
EXPOSE 8000
# Of the server; a worker answers no requests and has a check of its own in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
CMD ["pareconv", "serve", "--host", "0.0.0.0"]
