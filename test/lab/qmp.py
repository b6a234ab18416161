#!/usr/bin/python3
"""Talk to a QEMU over its QMP socket: qmp.py SOCKET [--timeout S] COMMAND...

COMMAND is NAME or NAME:{"argument": ...}; of each the returned value is printed as a line of JSON.
  wait:NAME           waits for that event and prints it
  get:PATH,PROPERTY   and set:PATH,PROPERTY,VALUE are qom-get and qom-set
Exit status: 0; 1 if QEMU refuses, with its words on stderr; 2 no answer in time (default: 30 s)."""
import json
import socket
import sys


def die(status, text):
    print(f"qmp: {text}", file=sys.stderr)
    sys.exit(status)


class Monitor:
    def __init__(self, path, timeout):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r")
        self.events = []
        self.read()                         # the greeting
        self.execute("qmp_capabilities", {})

    def read(self):
        line = self.lines.readline()
        if not line:
            die(2, "QEMU closed the connection")
        return json.loads(line)

    def execute(self, name, arguments):
        order = {"execute": name, "arguments": arguments}
        self.socket.sendall(json.dumps(order).encode() + b"\n")
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                die(1, f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait(self, name):
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)


def run(monitor, command):
    name, _, rest = command.partition(":")
    if name == "wait":
        return monitor.wait(rest)
    if name in ("get", "set"):
        path, prop, *value = rest.split(",", 2)
        arguments = {"path": path, "property": prop}
        if name == "set":
            arguments["value"] = json.loads(value[0])
        return monitor.execute("qom-" + name, arguments)
    return monitor.execute(name, json.loads(rest) if rest else {})


def main():
    arguments = sys.argv[1:]
    timeout = 30
    if len(arguments) > 2 and arguments[1] == "--timeout":
        timeout = float(arguments[2])
        del arguments[1:3]
    if len(arguments) < 2:
        die(2, __doc__)
    try:
        monitor = Monitor(arguments[0], timeout)
        for command in arguments[1:]:
            print(json.dumps(run(monitor, command)))
    except OSError as error:
        die(2, f"{arguments[0]}: {error}")


main()
