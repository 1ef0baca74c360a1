# The FastAPI application of examples/scan-backend; the build context is examples/.
FROM python:3.13-slim-bookworm
WORKDIR /app
COPY scan-backend/requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY scan-backend/app.py .
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--timeout-graceful-shutdown", "5"]
