"""A scan API as many teams have one: every scan is heavy, every status costs a query, nothing may be cached.

`POST /api/scan/execute` answers at once and works on in a small pool of threads; a frontend polls
`GET /api/scan/status/{scan_id}` until the scan is completed. The environment sets its pace:

SCAN_SECONDS   how long one scan works (default 8)
SCAN_WORKERS   how many work at the same time; the others wait (default 2)
STATUS_MS      what one status costs, in milliseconds (default 200)
"""

import asyncio
import os
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

SCAN_SECONDS = float(os.environ.get("SCAN_SECONDS", "8"))
SCAN_WORKERS = int(os.environ.get("SCAN_WORKERS", "2"))
STATUS_SECONDS = float(os.environ.get("STATUS_MS", "200")) / 1000

app = FastAPI(title="Scan backend")
workers = ThreadPoolExecutor(max_workers=SCAN_WORKERS, thread_name_prefix="scan")


class Scan:
    """One scan: queued until a worker is free, then running for SCAN_SECONDS, then completed."""

    def __init__(self):
        self.id = uuid.uuid4().hex[:12]
        self.started = None
        self.results = None

    def work(self):
        with counts.scan_at_work():
            self.started = time.monotonic()
            time.sleep(SCAN_SECONDS)
        # Not before it is counted out: who is told that it is completed may start the next one.
        self.results = [{"symbol": symbol, "score": len(symbol) * 17} for symbol in ("ACME", "INTAKE", "WEIR")]

    def status(self):
        if self.results is not None:
            return {"scan_id": self.id, "status": "completed", "progress": 100, "results": self.results}
        worked = 0 if self.started is None else time.monotonic() - self.started
        progress = min(99, int(100 * worked / SCAN_SECONDS))
        return {"scan_id": self.id, "status": "running", "progress": progress}


class Counts:
    """What this process has been asked, and how much of it at the same time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = Counter()
        self.scans_now = 0
        self.scans_most = 0

    def request(self, path):
        with self.lock:
            self.requests[path] += 1

    @contextmanager
    def scan_at_work(self):
        with self.lock:
            self.scans_now += 1
            self.scans_most = max(self.scans_most, self.scans_now)
        try:
            yield
        finally:
            with self.lock:
                self.scans_now -= 1

    def report(self):
        with self.lock:
            return {"requests": dict(self.requests), "scans_now": self.scans_now, "scans_most": self.scans_most}


scans: dict[str, Scan] = {}
counts = Counts()


@app.middleware("http")
async def count_and_forbid_caching(request: Request, call_next):
    if not request.url.path.startswith("/api/debug/"):
        counts.request(request.url.path)
    response = await call_next(request)
    response.headers["Cache-Control"] = "no-store"
    return response


@app.post("/api/scan/execute", status_code=202)
async def execute():
    scan = Scan()
    scans[scan.id] = scan
    workers.submit(scan.work)
    return {"scan_id": scan.id, "status": "running"}


@app.get("/api/scan/status/{scan_id}")
async def status(scan_id: str):
    await asyncio.sleep(STATUS_SECONDS)
    if scan_id not in scans:
        raise HTTPException(404, "no such scan")
    return scans[scan_id].status()


@app.get("/api/scans")
async def list_scans():
    await asyncio.sleep(STATUS_SECONDS)
    return {"scans": [{"scan_id": scan.id, "status": scan.status()["status"]} for scan in scans.values()]}


@app.get("/api/health")
async def health():
    return {"status": "healthy"}


@app.get("/api/events")
async def events():
    """How many scans are running, once a second, as server-sent events."""

    async def stream():
        number = 0
        while True:
            number += 1
            running = sum(scan.results is None for scan in scans.values())
            yield f'id: {number}\nevent: scans\ndata: {{"running": {running}}}\n\n'
            await asyncio.sleep(1)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/ws/{workspace}")
async def workspace(socket: WebSocket, workspace: str):
    counts.request(f"/ws/{workspace}")
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"{workspace}: {await socket.receive_text()}")
    except WebSocketDisconnect:
        pass


@app.get("/api/debug/counts")
async def debug_counts():
    return counts.report()
