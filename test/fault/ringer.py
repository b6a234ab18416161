#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A peer of ivshmem-doorbell that rings the first vector of all others, as often as it can, for a while.

    ringer.py SERVER SECONDS
prints how often it rang. The protocol is that of QEMU's docs/specs/ivshmem-spec: numbers of 8 bytes from the
server, some with a descriptor: version, own id, -1 with the memory, then an id for each vector of each peer.
"""
import os
import socket
import struct
import sys
import time


def receive(server):
    data, fds, _, _ = socket.recv_fds(server, 8, 1)
    if len(data) != 8:
        raise EOFError("the server ended the connection")
    return struct.unpack("<q", data)[0], fds


def main():
    path, seconds = sys.argv[1], float(sys.argv[2])
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.connect(path)
    receive(server)
    own, _ = receive(server)
    receive(server)
    bells = []
    server.settimeout(2)
    try:
        while True:
            peer, fds = receive(server)
            if fds and peer != own:
                bells += fds
    except TimeoutError:
        pass
    if not bells:
        sys.exit("ringer.py: there is nobody to ring")
    one = struct.pack("<Q", 1)
    rung = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for bell in bells:
            os.write(bell, one)
            rung += 1
    print(rung)


main()
