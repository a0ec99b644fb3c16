"""A discovery server that lies: a proxy before the real one that rewrites answers."""

import http.client
import http.server
import json
import socket
import threading

PORT = 8081


class Liar:
    """Listens on the lab's internet. REWRITE(method, answer) returns the JSON object to send
    instead; method is the last part of the path."""

    def __init__(self, lab, server, rewrite):
        self.url = f"http://{lab.server_ip}:{PORT}"
        self.requests = []  # (method, body) as they came
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                method = self.path.rpartition("/")[2]
                outer.requests.append((method, body))
                status, answer = outer._ask(lab, server, self.path, body)
                if status == 200:
                    answer = json.dumps(rewrite(method, json.loads(answer))).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        with lab.internet.inside():
            self._http = http.server.ThreadingHTTPServer((lab.server_ip, PORT), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        lab.on_close(self._http.shutdown)
        lab.on_close(self._http.server_close)

    def _ask(self, lab, server, path, body):
        connection = http.client.HTTPConnection(server.address, timeout=40)
        connection.sock = lab.internet.socket(kind=socket.SOCK_STREAM)
        with connection.sock:
            connection.sock.connect((server.address, 8080))
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
