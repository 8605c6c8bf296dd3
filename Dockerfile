# CPU by default; the package index's torch also runs on CUDA where the runtime provides it.
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 pareconv
WORKDIR /opt/pareconv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY search search
COPY service service
COPY storage storage
RUN pip install --no-cache-dir --constraint constraints.txt .

USER pareconv
ENV PARECONV_HOME=/home/pareconv/data
RUN mkdir -p "$PARECONV_HOME"
VOLUME /home/pareconv/data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
CMD ["pareconv", "serve", "--host", "0.0.0.0"]
