"""What the benchmarks of the server share: the server, nginx, the load generator, the report."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds, why):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s in vain for {why}")
        time.sleep(0.01)


class Process:
    """A process whose appetite is watched."""

    def __init__(self, argv, **kwargs):
        self.child = subprocess.Popen([str(a) for a in argv], **kwargs)

    def pids(self):
        """Itself and its children: nginx works in those."""
        pid = self.child.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [pid] + [int(child) for child in f.read().split()]

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_mb(self, field="VmRSS"):
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return int(re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.M)[1]) / 1024

    def files(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.kill()


class Server(Process):
    def __init__(self, rig, data, *options, env=None):
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(rig.server_command(self.address, data, *options),
                         stdout=subprocess.PIPE, stderr=rig.log, text=True,
                         env=dict(os.environ, **(env or {})))
        line = self.child.stdout.readline()
        if "serving" not in line:
            raise SystemExit(f"the server did not start: see {rig.log.name}")


class Worker(Process):
    """The Cloudflare host in workerd, from FOLDER as `make worker` filled it."""

    def __init__(self, rig, folder):
        super().__init__(["node", f"{os.path.dirname(__file__)}/worker.mjs", rig.data()],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=rig.log, text=True,
                         env=dict(os.environ, WARREN_WORKER=os.path.abspath(folder)))
        words = self.child.stdout.readline().split()
        if len(words) != 3:
            raise SystemExit(f"workerd did not start: see {rig.log.name}")
        self.address, self.workerd = words[1], int(words[2])

    def stop(self):
        self.child.stdin.close()
        self.child.wait(20)

    def kill(self):
        # node would leave workerd behind.
        os.kill(self.workerd, signal.SIGKILL)
        super().kill()


NGINX_CONF = """
daemon off;
master_process on;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {address};
        root {dir}/www;
    }}
}}
"""


class Nginx(Process):
    """Serves /file, of BODY_LEN bytes."""

    def __init__(self, rig, workers, body_len):
        self.address = f"127.0.0.1:{free_port()}"
        self.dir = tempfile.mkdtemp(prefix="nginx-", dir=rig.dir)
        os.mkdir(f"{self.dir}/www")
        # The workers give up root's rights, and must still reach the file.
        for path in (rig.dir, self.dir, f"{self.dir}/www"):
            os.chmod(path, 0o755)
        with open(f"{self.dir}/www/file", "wb") as f:
            f.write(b"x" * body_len)
        with open(f"{self.dir}/nginx.conf", "w", encoding="ascii") as f:
            f.write(NGINX_CONF.format(workers=workers, dir=self.dir, address=self.address))
        super().__init__([rig.nginx, "-e", f"{self.dir}/error.log", "-c",
                          f"{self.dir}/nginx.conf"], stderr=rig.log)
        wait_for(self.answers, 5, "nginx")

    def kill(self):
        # Killed, it would leave its workers behind.
        self.stop()

    def answers(self):
        with socket.socket() as s:
            host, port = self.address.split(":")
            return s.connect_ex((host, int(port))) == 0


class Rig:
    """Programs, a folder on a real disk, and the report."""

    def __init__(self, warren, tools, folder, worker=None):
        self.worker = worker
        self.warren = os.path.abspath(warren)
        self.tools = os.path.abspath(tools)
        self.nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        os.makedirs(folder, exist_ok=True)
        self.dir = tempfile.mkdtemp(prefix="bench-", dir=os.path.abspath(folder))
        self.log = open(f"{self.dir}/log", "w+", encoding="utf-8")
        self.help = subprocess.run([self.warren, "server", "--help"], capture_output=True,
                                   text=True, check=False).stdout
        self.short = 0
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.dir], capture_output=True,
                              text=True, check=True).stdout.strip()
        if kind in ("tmpfs", "ramfs"):
            raise SystemExit(f"{self.dir} is in memory ({kind}); name a folder on a disk: --dir")

    def close(self, failed):
        """Removes all traces; of a failure the programs' output stays."""
        self.log.close()
        for name in os.listdir(self.dir):
            path = f"{self.dir}/{name}"
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif name != "log" or not failed:
                os.unlink(path)
        if not failed:
            os.rmdir(self.dir)

    def unlimited(self):
        """Options that turn rate limits off, for loads that one source must not bring."""
        return ["--rate-limit-factor", "0"] if "--rate-limit-factor" in self.help else []

    def data(self):
        """A new empty folder for a server."""
        return tempfile.mkdtemp(prefix="data-", dir=self.dir)

    def server_command(self, address, data, *options):
        return [self.warren, "server", "--http", address, "--stun", "127.0.0.1:0", "--data", data,
                "--log-level", "warn", "--ttl", "86400", *options]

    def load_command(self, mode, to, options):
        values = [f"{name}={value}" for name, value in options.items()]
        return [f"{self.tools}/warren_load", mode, f"to={to}", *values]

    def load(self, mode, to, command=(), nice=0, **options):
        argv = self.load_command(mode, to, options) + (["--", *command] if command else [])
        if nice:
            argv = ["nice", "-n", str(nice), *argv]
        return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)

    def start_load(self, mode, to, nice=0, **options):
        argv = ["nice", "-n", str(nice), *self.load_command(mode, to, options)]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def baseline(self, journal, seconds, env=None):
        path = os.path.join(self.data(), "baseline.db")
        out = subprocess.run([f"{self.tools}/warren_baseline", path, journal, str(seconds)],
                             capture_output=True, text=True, check=True,
                             env=dict(os.environ, **(env or {}))).stdout
        return json.loads(out)["rate"]

    def sync_us(self):
        """How long the disk takes to make 4 KiB at the end of a file durable: the median."""
        took = []
        with open(f"{self.dir}/sync", "wb") as f:
            for _ in range(100):
                f.write(b"x" * 4096)
                f.flush()
                began = time.perf_counter()
                os.fdatasync(f.fileno())
                took.append(time.perf_counter() - began)
        return statistics.median(took) * 1e6

    def say(self, point, figure, limit="", ok=None):
        verdict = "" if ok is None else "ok" if ok else "short"
        self.short += verdict == "short"
        print(f"{point} | {figure} | {limit or '-'} | {verdict or '-'}", flush=True)
