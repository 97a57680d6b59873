import http.server
import os
import time


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        slow = self.path == "/slow"
        if slow:
            time.sleep(0.5)
        self.answer(200, b"slow" if slow else b"hello")

    def do_POST(self):
        self.answer(413, b"too large")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
