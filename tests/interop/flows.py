"""Flows whose every byte is known to whoever receives it, and a path that treats them badly."""

import contextlib
import hashlib
import os
import random
import socket
import struct
import threading
import time

from peers import LabError

POOL = os.urandom(1 << 20)
UDP_SEGMENT = 103
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM = 1
ETH_P_IP, ETH_P_IPV6, ETH_P_ALL = 0x0800, 0x86DD, 3


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Stream:
    """A TCP stream between two hosts, of SIZE bytes or until stop(). Both ends hash it."""

    def __init__(self, source, destination, address, port, size=None):
        self.received, self.size, self.port = 0, size, port
        self.sent_hash, self.received_hash = hashlib.sha1(), hashlib.sha1()
        self.error, self._over = None, threading.Event()
        family = family_of(address)
        listener = destination.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        listener.settimeout(20)
        client = source.socket(family, socket.SOCK_STREAM)
        client.settimeout(20)
        self._threads = [threading.Thread(target=self._guard, args=a, daemon=True) for a in
                         ((self._receive, listener), (self._send, client, (address, port)))]
        for t in self._threads:
            t.start()

    def _guard(self, work, s, *arguments):
        try:
            with s:
                work(s, *arguments)
        except OSError as e:
            self.error = self.error or f"port {self.port}: {work.__name__}: {e!r}"

    def _send(self, s, to):
        s.connect(to)
        sent, at = 0, self.port * 4099 % len(POOL)
        while not self._over.is_set() and (self.size is None or sent < self.size):
            length = min(50000, len(POOL) - at, self.size - sent if self.size else 50000)
            chunk = memoryview(POOL)[at:at + length]
            s.sendall(chunk)
            self.sent_hash.update(chunk)
            sent, at = sent + length, (at + length) % len(POOL)
        s.shutdown(socket.SHUT_WR)

    def _receive(self, listener):
        connection, _ = listener.accept()
        connection.settimeout(20)
        with connection:
            while chunk := connection.recv(1 << 18):
                self.received_hash.update(chunk)
                self.received += len(chunk)

    def stop(self):
        self._over.set()

    def check(self, timeout=40):
        """Waits for its end; LabError unless all came, and came unchanged."""
        deadline = time.monotonic() + timeout
        for t in self._threads:
            t.join(max(0, deadline - time.monotonic()))
        if any(t.is_alive() for t in self._threads):
            raise LabError(f"port {self.port}: the stream hangs at {self.received} bytes")
        if self.error:
            raise LabError(self.error)
        if self.sent_hash.digest() != self.received_hash.digest():
            raise LabError(f"port {self.port}: {self.received} bytes, and not those that were sent")


def datagram(number, size):
    """Every byte follows from NUMBER, which short ones have no room for."""
    if size < 8:
        return b"\xa5\x5a\xc3\x3c\x99\x66\x0f"[:size]
    at = number * 61 % (len(POOL) - 65536)
    return struct.pack("!II", number, size) + POOL[at:at + size - 8]


class Datagrams:
    """UDP of one size, PER_SECOND at a time, until stop(). TRAIN: the kernel is to split as many
    out of one call."""

    def __init__(self, source, destination, address, port, size, per_second=200, train=1):
        self.sent = self.received = 0
        self.numbers, self.wrong = set(), []
        self.size, self._rate, self._train = size, per_second, train
        self._to, self._over = (address, port), threading.Event()
        family = family_of(address)
        self._out, self._in = source.socket(family), destination.socket(family)
        self._in.bind((address, port))
        self._in.settimeout(0.1)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if train > 1:
            self._out.setsockopt(socket.SOL_UDP, UDP_SEGMENT, size)
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        self._sender.start()

    def _send(self):
        start = time.monotonic()
        while not self._over.is_set():
            numbers = range(self.sent, self.sent + self._train)
            with contextlib.suppress(OSError):
                self._out.sendto(b"".join(datagram(n, self.size) for n in numbers), self._to)
            self.sent += self._train
            time.sleep(max(0, self.sent / self._rate - (time.monotonic() - start)))

    def _receive(self):
        quiet = 0
        while quiet < 4:
            try:
                data = self._in.recv(65536)
            except TimeoutError:
                quiet += self._over.is_set()
                continue
            number = struct.unpack("!I", data[:4])[0] if len(data) >= 8 else 0
            if len(data) != self.size or data != datagram(number, self.size):
                self.wrong.append(data[:64])
            self.numbers.add(number)
            self.received += 1

    def stop(self):
        self._over.set()

    def check(self, least=0.9):
        """LabError when one came wrong or twice, or when fewer came than LEAST of them."""
        self._over.set()
        self._sender.join()
        self._receiver.join()
        self._out.close()
        self._in.close()
        what = f"UDP of {self.size} bytes to {self._to[0]}"
        if self.wrong:
            raise LabError(f"{what}: {len(self.wrong)} wrong ones: {self.wrong[0].hex()}")
        if self.received < least * self.sent:
            raise LabError(f"{what}: {self.received} of {self.sent} came")
        if self.size >= 8 and self.received != len(self.numbers):
            raise LabError(f"{what}: some came twice")


class Relay:
    """A UDP relay on a host, between two ports, that drops, reorders, repeats and damages what it
    carries, each with a probability."""

    def __init__(self, host, left, right, drop=0.0, reorder=0.0, repeat=0.0, damage=0.0, seed=1):
        self._chances = (drop, reorder, repeat, damage)
        self._random = random.Random(seed)
        self._over = threading.Event()
        self.carried = 0
        self._sockets, self._ends = [], [None, None]
        for port in (left, right):
            s = host.socket()
            s.bind(("0.0.0.0", port))
            s.settimeout(0.1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._sockets.append(s)
        self._threads = [threading.Thread(target=self._carry, args=(side,), daemon=True)
                         for side in (0, 1)]
        host.lab.on_close(self.stop)

    def connect(self, left, right):
        """The addresses of both ends."""
        self._ends = [left, right]
        for t in self._threads:
            t.start()

    def _carry(self, side):
        drop, reorder, repeat, damage = self._chances
        chance, late = self._random.random, []
        while not self._over.is_set():
            try:
                data = self._sockets[side].recv(65536)
            except TimeoutError:
                data = None
            out, late = late if data is None or chance() < 0.3 else [], [] if data is None else late
            if data and chance() >= drop:
                if chance() < damage:
                    data = self._damaged(data)
                out = out + [data] * (2 if chance() < repeat else 1)
            if out and chance() < reorder and len(late) < 50:
                late, out = late + out, []
            elif out and late and chance() < 0.3:
                out, late = out + late, []
            for d in out:
                with contextlib.suppress(OSError):
                    self._sockets[1 - side].sendto(d, self._ends[1 - side])
                self.carried += 1

    def _damaged(self, data):
        data = bytearray(data)
        for _ in range(self._random.randint(1, 3)):
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        if self._random.random() < 0.2:
            del data[self._random.randint(1, len(data)):]
        return bytes(data)

    def stop(self):
        self._over.set()
        for t in self._threads:
            if t.is_alive():
                t.join()
        for s in self._sockets:
            s.close()


# ---- checksums, by other means than those under test ----

def ones_sum(data):
    """The ones' complement sum of 16-bit words: 65535 stands for zero, as in a good packet."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    return int.from_bytes(data, "big") % 65535


class Seen:
    """An IP packet as a packet socket with PACKET_VNET_HDR shows it."""

    def __init__(self, frame):
        self.flags, *_, self.csum_start, self.csum_offset = struct.unpack("<BBHHHH", frame[:10])
        self.data = p = frame[10:]
        if p[0] >> 4 == 4:
            self.header, self.proto = (p[0] & 15) * 4, p[9]
            self.is_fragment = bool(struct.unpack("!H", p[6:8])[0] & 0x3FFF)
            self._addresses = p[12:20]
        else:
            self.header, self.proto = 40, p[6]
            self.is_fragment = self.proto == 44
            self._addresses = p[8:40]
        self.body = p[self.header:]

    def has_checksum(self):
        return self.proto in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) and not self.is_fragment

    def is_good(self):
        """The IPv4 header's checksum, and that of TCP or UDP: whole, or begun as the kernel that is
        to end it expects."""
        if self.data[0] >> 4 == 4 and ones_sum(self.data[:self.header]) != 0:
            return False
        if not self.has_checksum():
            return True
        pseudo = self._addresses + struct.pack("!II", len(self.body), self.proto)
        if not self.flags & NEEDS_CSUM:
            return ones_sum(pseudo + self.body) == 0
        offset = 16 if self.proto == socket.IPPROTO_TCP else 6
        field = struct.unpack("!H", self.body[offset:offset + 2])[0]
        return (self.csum_start, self.csum_offset) == (self.header, offset) and \
            (field - ones_sum(pseudo)) % 65535 == 0


class Watch:
    """Up to LIMIT packets that the daemon of a TUN device hands to its kernel."""

    def __init__(self, host, interface, limit=4000, wanted=lambda seen: True):
        self.seen, self._limit, self._wanted = [], limit, wanted
        self._socket = host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        host.lab.on_close(self.stop)

    def _loop(self):
        with self._socket:
            while not self._over.is_set() and len(self.seen) < self._limit:
                with contextlib.suppress(TimeoutError):
                    frame, address = self._socket.recvfrom(1 << 17)
                    if address[2] == socket.PACKET_OUTGOING:
                        continue
                    seen = Seen(frame)
                    if self._wanted(seen):
                        self.seen.append(seen)

    def stop(self):
        self._over.set()
        self._thread.join()
        return self.seen
