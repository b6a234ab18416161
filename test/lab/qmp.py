#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Talk to a QEMU over its QMP socket: qmp.py SOCKET WORD...

WORD is the JSON of a command, or NAME or NAME:{"argument": ...}; of each the returned value is printed as
a line of JSON.
  wait:NAME           waits for that event and prints its data
  get:PATH,PROPERTY   and set:PATH,PROPERTY,VALUE are qom-get and qom-set
Exit status: 0; 1 if QEMU refuses, with its words on stderr; 2 if there is no answer in time (environment
variable QMP_TIMEOUT, seconds, default 30)."""
import json
import os
import socket
import sys
import time


def die(status, text):
    print(f"qmp: {text}", file=sys.stderr)
    sys.exit(status)


class Monitor:
    def __init__(self, path, timeout):
        self.end = time.monotonic() + timeout
        self.socket = self.connect(path)
        self.lines = self.socket.makefile("r")
        self.events = []
        self.read()                         # the greeting
        self.execute({"execute": "qmp_capabilities"})

    def connect(self, path):
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError as error:        # QEMU may not have made it yet
                s.close()
                if time.monotonic() >= self.end:
                    die(2, f"{path}: {error}")
                time.sleep(0.05)

    def read(self):
        self.socket.settimeout(max(0.01, self.end - time.monotonic()))
        try:
            line = self.lines.readline()
        except OSError:
            die(2, "no answer in time")
        if not line:
            die(2, "QEMU closed the connection")
        return json.loads(line)

    def execute(self, order):
        self.socket.sendall(json.dumps(order).encode() + b"\n")
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                die(1, answer["error"]["desc"])
            else:
                return answer["return"]

    def wait(self, name):
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event.get("data", {})
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)


def order_of(word):
    name, _, rest = word.partition(":")
    if name in ("get", "set"):
        path, prop, *value = rest.split(",", 2)
        arguments = {"path": path, "property": prop}
        if name == "set":
            arguments["value"] = json.loads(value[0])
        return {"execute": "qom-" + name, "arguments": arguments}
    return {"execute": name, "arguments": json.loads(rest) if rest else {}}


def main():
    if len(sys.argv) < 3:
        die(2, __doc__)
    monitor = Monitor(sys.argv[1], float(os.environ.get("QMP_TIMEOUT", "30")))
    for word in sys.argv[2:]:
        if word.startswith("wait:"):
            result = monitor.wait(word[5:])
        elif word.startswith("{"):
            result = monitor.execute(json.loads(word))
        else:
            result = monitor.execute(order_of(word))
        print(json.dumps(result), flush=True)


main()
