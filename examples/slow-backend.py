#!/usr/bin/env python3
"""A backend that answers everything, slowly, and writes a line for every request that reaches it.

For trying a configuration without the application it is for; needs nothing but Python. It knows nothing of forebay.

    examples/slow-backend.py [PORT]      default 8000; DELAY_MS (default 200) is what a request costs it

GET answers 200 with `Cache-Control: no-store`, like many a real backend; POST, PUT, PATCH and DELETE answer 202, a POST to
a path that ends in /execute or /scans with the name of the scan that it has started; a WebSocket handshake is answered
101, and the connection then stays open until the client closes it.
"""

import base64
import hashlib
import itertools
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY_SECONDS = float(os.environ.get("DELAY_MS", "200")) / 1000
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

numbers = itertools.count(1)
output = threading.Lock()


class SlowHandler(BaseHTTPRequestHandler):
    """Answers one request after the other on a connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.open_websocket()
        else:
            self.answer(200)

    def do_HEAD(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(202)

    do_PUT = do_PATCH = do_DELETE = do_POST

    def answer(self, status):
        number = self.note()
        time.sleep(DELAY_SECONDS)
        answer = {"path": self.path, "answer": number}
        if self.command == "POST" and self.path.endswith(("/execute", "/scans")):
            answer |= {"scan_id": f"scan-{number}", "status": "running"}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def open_websocket(self):
        self.note()
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + WEBSOCKET_GUID).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        self.close_connection = True
        while self.rfile.read(1):
            pass

    def note(self):
        with output:
            number = next(numbers)
            print(f"{number:4} {self.command} {self.path}", flush=True)
        return number

    def log_message(self, *_):
        """The line of `note` is enough."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = ThreadingHTTPServer(("127.0.0.1", port), SlowHandler)
    server.daemon_threads = True
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
