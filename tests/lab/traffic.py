"""Traffic for the lab: pings with a stopwatch, captures, and floods."""

import contextlib
import ipaddress
import os
import select
import socket
import struct
import threading
import time

from lab import LabError, wait_for

ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_TIME_EXCEEDED = 8, 0, 11
ICMP6_ECHO, ICMP6_ECHO_REPLY = 128, 129
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS = 3, 263, 6
SO_RCVBUFFORCE = 33


class Pinger:
    """Sends an echo request every INTERVAL seconds and notes when each answer comes.

    While there is no route it keeps trying, so it can be started before the tunnel exists."""

    def __init__(self, host, target, interval=0.01):
        self.host, self.target, self.interval = host, target, interval
        self.sent, self.answered = {}, {}  # sequence number -> time.monotonic()
        self._v6 = ipaddress.ip_address(target).version == 6
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        proto = socket.IPPROTO_ICMPV6 if self._v6 else socket.IPPROTO_ICMP
        self._socket = host.socket(family, socket.SOCK_RAW, proto)
        self._socket.setblocking(False)
        self._id = struct.unpack("!H", os.urandom(2))[0]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        host.lab.on_close(self.close)

    def first_answer(self, since, timeout):
        """Seconds from SINCE to the first answer to a ping that was sent after it."""
        def answer():
            times = [t for n, t in list(self.answered.items()) if self.sent[n] >= since]
            return min(times, default=None)
        return wait_for(answer, timeout, f"an answer from {self.target} to {self.host.name}",
                        interval=0.005) - since

    def flows(self, since, seconds):
        """True when pings were answered at least once in each of SECONDS seconds after SINCE."""
        times = sorted(t for t in list(self.answered.values()) if t >= since)
        edges = [since, *(t for t in times if t <= since + seconds), since + seconds]
        return all(b - a < 1.0 for a, b in zip(edges, edges[1:]))

    def loss(self, since, until):
        """Share of the pings sent between SINCE and UNTIL that were never answered."""
        sent = [n for n, t in list(self.sent.items()) if since <= t <= until]
        return sum(n not in self.answered for n in sent) / max(1, len(sent))

    def close(self):
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._socket.close()

    def _loop(self):
        sequence, due = 0, time.monotonic()
        while not self._over.is_set():
            now = time.monotonic()
            if now >= due:
                sequence = (sequence + 1) & 0xFFFF
                self.sent[sequence] = now
                with contextlib.suppress(OSError):
                    self._socket.sendto(self._request(sequence), (self.target, 0))
                due = max(due + self.interval, now)
            if select.select([self._socket], [], [], max(0, due - now))[0]:
                self._receive()

    def _receive(self):
        with contextlib.suppress(OSError):
            data, source = self._socket.recvfrom(2048)
            now = time.monotonic()
            if not self._v6:
                data = data[(data[0] & 15) * 4:]
            kind, _, _, ident, sequence = struct.unpack("!BBHHH", data[:8])
            reply = ICMP6_ECHO_REPLY if self._v6 else ICMP_ECHO_REPLY
            if kind == reply and ident == self._id and source[0] == self.target:
                self.answered.setdefault(sequence, now)

    def _request(self, sequence):
        kind = ICMP6_ECHO if self._v6 else ICMP_ECHO
        body = struct.pack("!BBHHH", kind, 0, 0, self._id, sequence) + bytes(48)
        checksum = 0 if self._v6 else internet_checksum(body)  # the kernel fills in ICMPv6's
        return body[:2] + struct.pack("!H", checksum) + body[4:]


def internet_checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Packet:
    """An IP packet out of a capture."""

    def __init__(self, when, data):
        self.time, self.data = when, data
        self.version = data[0] >> 4
        if self.version == 4:
            header, self.proto = (data[0] & 15) * 4, data[9]
            self.src, self.dst = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        else:
            header, self.proto = 40, data[6]
            self.src = socket.inet_ntop(socket.AF_INET6, data[8:24])
            self.dst = socket.inet_ntop(socket.AF_INET6, data[24:40])
        body = data[header:]
        self.sport = self.dport = None
        self.payload = body
        if self.proto in (socket.IPPROTO_UDP, socket.IPPROTO_TCP) and len(body) >= 8:
            self.sport, self.dport = struct.unpack("!HH", body[:4])
            self.payload = body[8:] if self.proto == socket.IPPROTO_UDP else body[body[12] // 4:]

    def is_udp(self):
        return self.proto == socket.IPPROTO_UDP

    def is_wireguard(self):
        """Type 1 to 4, three zero bytes, and a length that such a message can have."""
        if not self.is_udp() or len(self.payload) < 32 or self.payload[1:4] != bytes(3):
            return False
        fixed = {1: 148, 2: 92, 3: 64}
        kind, size = self.payload[0], len(self.payload)
        return fixed[kind] == size if kind in fixed else kind == 4 and size % 16 == 0

    def is_end_of_life(self):
        """A router's notice that a UDP datagram's TTL ended there."""
        return self.proto == socket.IPPROTO_ICMP and self.payload[0] == ICMP_TIME_EXCEEDED \
            and self.payload[8 + 9] == socket.IPPROTO_UDP

    def __repr__(self):
        return (f"<{self.src}:{self.sport} > {self.dst}:{self.dport} proto {self.proto}, "
                f"{len(self.payload)} bytes {self.payload[:8].hex()}>")


class Capture:
    """Every IP packet that passes one interface of a host, in and out.

    A packet socket, which is what tcpdump reads from; tcpdump itself refuses to run as root of a
    user namespace. save() writes a file for it."""

    def __init__(self, host, interface):
        self._frames = []  # (wall time, Ethernet frame)
        self._socket = host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with contextlib.suppress(OSError):  # not as root of a user namespace
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        host.lab.on_close(self._end)

    def stop(self, lossy=False):
        """Ends the capture and returns its packets, oldest first. LabError if some were lost,
        unless LOSSY: a sample is enough."""
        time.sleep(0.05)  # for what is on its way to the socket
        lost = self._end()
        if lost and not lossy:
            raise LabError(f"the capture lost {lost} packets and proves nothing")
        return [Packet(when, frame[14:]) for when, frame in self._frames
                if frame[12:14] in (b"\x08\x00", b"\x86\xdd")]

    def _end(self):
        """How many packets were lost; 0 when it was over already."""
        if self._over.is_set():
            return 0
        self._over.set()
        self._thread.join()
        with self._socket:
            statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return struct.unpack("II", statistics)[1]

    def save(self, path):
        """Writes a file that tcpdump -r and wireshark open."""
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for when, frame in self._frames:
                f.write(struct.pack("<IIII", int(when), int(when % 1 * 1e6),
                                    len(frame), len(frame)) + frame)

    def _loop(self):
        while not self._over.is_set():
            if select.select([self._socket], [], [], 0.05)[0]:
                self._frames.append((time.time(), self._socket.recv(65535)))


class Flood:
    """Sends what NEXT_DATAGRAM() returns to an address, as fast as a thread can, until stopped."""

    def __init__(self, host, address, next_datagram, per_second=5000):
        self.count = 0
        self._socket, self._address = host.socket(), address
        self._next, self._rate = next_datagram, per_second
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        host.lab.on_close(self.stop)

    def stop(self):
        """Returns how many datagrams were sent."""
        self._over.set()
        self._thread.join()
        return self.count

    def _loop(self):
        start = time.monotonic()
        with self._socket:
            while not self._over.is_set():
                with contextlib.suppress(OSError):
                    self._socket.sendto(self._next(), self._address)
                self.count += 1
                ahead = self.count / self._rate - (time.monotonic() - start)
                if ahead > 0.002:
                    time.sleep(ahead)
