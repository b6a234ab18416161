#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs generated MPI programs (vt_storm) over vmshm, and shrinks what fails.

A plan is a program of some hundred operations that all ranks derive from a seed: see storm/storm.h. A
plan that fails is run again alone, without ever more of its operations, until none can be left out,
and is printed as a command line. Then the same plan is run over the transports of --against, which
tells whose fault it is.

    run-storm.py --seeds 1..20 --np 4                   20 plans over vmshm, 4 ranks in 4 pretended VMs
    run-storm.py --seconds 60 --np 2,4 --fresh          new seeds for a minute; they are printed
    run-storm.py --seeds 17:3-9,12 --again 10           some operations of a plan, for 10 seconds
    run-storm.py --lab NAME --seeds 1..5                in the guests of a lab that is up (test/lab/vmlab)

Exit status: 0 all passed, 1 something failed, 2 wrong usage.
"""
import argparse
import atexit
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# Memory that is always short: one window, rings that never grow, no pool.
TINY = {"btl_vmshm_ring_slots": "8", "btl_vmshm_ring_slots_max": "8", "btl_vmshm_window_size": "131072",
        "btl_vmshm_max_windows": "1", "btl_vmshm_pool_size": "0"}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", "--plans", default="1", metavar="LIST",
                   help="17, 17..20, 17:3-9,12 (operations of plan 17), joined by \"+\" (default 1)")
    p.add_argument("--fresh", action="store_true", help="begin with a seed nobody used before")
    p.add_argument("--seconds", type=int, default=0,
                   help="go on with further seeds for so long, in turn with each number of ranks")
    p.add_argument("--np", default="2", metavar="N,...", help="numbers of ranks, one after the other")
    p.add_argument("--vms", type=int, default=0, help="pretended VMs (default: one for each rank)")
    p.add_argument("--ops", type=int, default=150, help="operations of a plan")
    p.add_argument("--max", default="8M", help="bytes of the largest message")
    p.add_argument("--threads", type=int, default=1, help="that call MPI in each rank")
    p.add_argument("--again", type=int, default=0, metavar="SECONDS",
                   help="run the seeds again and again for so long")
    p.add_argument("--tiny", action="store_true", help="one small window, rings of 8 slots, no pool")
    p.add_argument("--mca", action="append", default=[], metavar="NAME=VALUE", help="an MCA parameter")
    p.add_argument("--btl", default="", help="default: self,vmshm; in a lab self,vader,vmshm")
    p.add_argument("--against", default="vader,tcp",
                   help="run a plan that failed over these, too (default vader,tcp; none: \"\")")
    p.add_argument("--lab", help="run in the guests of this lab")
    p.add_argument("--launcher", help="start of another command line; \"-np N PROGRAM ...\" is appended")
    p.add_argument("--watchdog", type=int, default=60, help="seconds a plan may take (default 60)")
    p.add_argument("--no-shrink", action="store_true")
    p.add_argument("--logdir", default=os.path.join(TOP, "build/test-logs"),
                   help="where the output of what failed stays (default build/test-logs)")
    p.add_argument("--shrink-seconds", type=int, default=240)
    p.add_argument("--quiet", action="store_true", help="no line for each launch")
    p.add_argument("--program", default=os.path.join(TOP, "build/test/mpi/vt_storm"))
    p.add_argument("--prefix", default=os.environ.get("VMSHM_PREFIX", os.path.join(TOP, "build/inst")))
    a = p.parse_args()
    if not re.fullmatch(r"[0-9]+(,[0-9]+)*", a.np):
        p.error("--np must be numbers like 2 or 2,4,8")
    for setting in a.mca:
        if "=" not in setting:
            p.error(f"--mca {setting}: write NAME=VALUE")
    if not os.access(a.program, os.X_OK):
        p.error(f"{a.program} is missing; build it: make test-programs")
    return a


class Result:
    """Of one launch."""

    def __init__(self, status, text, seconds):
        self.text = text
        self.seconds = seconds
        passed = re.search(r"^PASS storm .*plans=(\d+) operations=(\d+) seconds=([0-9.]+)", text, re.M)
        self.skipped = re.search(r"^SKIP storm (.*)", text, re.M)
        self.ok = status == 0 and (passed is not None or self.skipped is not None)
        self.plans, self.ops = (int(passed[1]), int(passed[2])) if passed else (0, 0)
        at = re.search(r"plan (\d+),? operation", text)
        self.plan = int(at[1]) if at else None

    def reason(self):
        """The line that says most."""
        for pattern in (r"^storm: rank .*", r"^FAIL .*", r"^TIMEOUT .*", r".*BTL vmshm.*", r".*rror.*"):
            found = re.search(pattern, self.text, re.M)
            if found:
                return found[0]
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else "(no output)"


class Launcher:
    def __init__(self, a):
        self.a = a
        self.work = tempfile.mkdtemp(prefix="storm.")
        self.segment = f"/dev/shm/vmshm-storm-{os.getpid()}"
        self.child = None
        atexit.register(self.close)
        if not a.lab and not a.launcher:
            os.mkdir(os.path.join(self.work, "lock"))
            subprocess.run([os.path.join(a.prefix, "bin/vmshmctl"), "create", "--force", "--sparse", "--vms",
                            "8", "--size", "1G", self.segment], check=True, stdout=subprocess.DEVNULL)

    def close(self):
        self.end_child()
        shutil.rmtree(self.work, ignore_errors=True)
        if os.path.exists(self.segment):
            os.unlink(self.segment)

    def end_child(self):
        """mpirun ends its ranks itself when it is asked to."""
        child, self.child = self.child, None
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def command(self, np, btl):
        a = self.a
        mca = dict(setting.split("=", 1) for setting in a.mca)
        if a.tiny:
            mca = {**TINY, **mca}
        mca["btl_vader_single_copy_mechanism"] = "none"
        words = [word for name, value in mca.items() for word in ("--mca", name, value)]
        if a.launcher:
            return [*shlex.split(a.launcher), *words, "-np", str(np), a.program], {}
        if a.lab:
            return [os.path.join(TOP, "test/lab/vmlab"), "mpirun", "--name", a.lab, "-np", str(np), "--mca",
                    "pml", "ob1", "--mca", "btl", btl or "self,vader,vmshm", *words, a.program], {}
        env = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "TMPDIR": self.work,
               "OMPI_MCA_mca_base_component_path":
                   f"{a.prefix}/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT",
               "OMPI_MCA_common_vmshm_segment": self.segment,
               "OMPI_MCA_common_vmshm_lock_dir": os.path.join(self.work, "lock"),
               "VMSHM_VMS": str(a.vms or min(np, 8))}
        if a.vms and a.vms < np or np > 8:
            env["OMPI_MCA_btl_vmshm_intra_vm"] = "1"
        return ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(np), "--mca", "pml", "ob1",
                "--mca", "btl", btl or "self,vmshm", *words, os.path.join(HERE, "as-vm.sh"), a.program], env

    def run(self, np, plans, again=0, seconds=0, btl="", watchdog=0):
        a = self.a
        watchdog = watchdog or a.watchdog
        command, env = self.command(np, btl)
        command += ["--plans", plans, "--ops", str(a.ops), "--max", a.max, "--threads", str(a.threads),
                    "--watchdog", str(watchdog)]
        if again:
            command += ["--again", str(again)]
        if seconds:
            command += ["--for", str(seconds)]
        if btl and "vmshm" not in btl:
            command += ["--allow-ob1-overrun"]
        start = time.monotonic()
        # The program's own watchdog speaks first; a launch of many plans may take long.
        limit = seconds + again + 60 + watchdog * (1 + len(expand(plans)))
        with open(os.path.join(self.work, "output"), "w+b") as output:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=subprocess.STDOUT, env={**os.environ, **env},
                                          start_new_session=True)
            try:
                status = self.child.wait(limit)
            except subprocess.TimeoutExpired:
                self.end_child()
                status = 124
            output.seek(0)
            text = output.read().decode(errors="replace")
        self.child = None
        if status == 124:
            text += f"TIMEOUT the launch was ended after {limit} s\n"
        return Result(status, text, time.monotonic() - start)


def expand(plans):
    """The single plans of a list, as words of one plan each."""
    every = []
    for word in plans.split("+"):
        if ".." in word:
            first, last = (int(n) for n in word.split(".."))
            every += [str(n) for n in range(first, last + 1)]
        else:
            every.append(word)
    return every


def ranges(numbers):
    """3,4,5,9 as 3-5,9"""
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def operations(word, ops):
    """The operations of a word like 17:3-9,12."""
    if ":" not in word:
        return list(range(ops))
    every = []
    for part in filter(None, word.split(":")[1].split(",")):
        first, _, last = part.partition("-")
        every += range(int(first), int(last or first) + 1)
    return every


class Shrinker:
    """Leaves out what is not needed for the failure: first whole plans, then operations."""

    def __init__(self, launcher, np, words):
        self.launcher = launcher
        self.np = np
        self.words = words
        self.again = 0
        self.end = time.monotonic() + launcher.a.shrink_seconds
        self.last = None
        self.trials = 0

    def fails(self, words):
        self.trials += 1
        result = self.launcher.run(self.np, "+".join(words), again=self.again,
                                   watchdog=min(30, self.launcher.a.watchdog))
        if not result.ok:
            self.last = result
        return not result.ok

    def smaller(self, items, still_fails):
        """Delta debugging: without ever smaller pieces."""
        size = (len(items) + 1) // 2
        while len(items) > 1:
            at, before = 0, len(items)
            while at < len(items):
                if time.monotonic() > self.end:
                    return items
                rest = items[:at] + items[at + size:]
                if rest and still_fails(rest):
                    items = rest
                else:
                    at += size
            if size == 1 and len(items) == before:
                break
            size = max(1, min(size, len(items)) // 2)
        return items

    def shrink(self, first):
        ops = self.launcher.a.ops
        words = self.words
        if first.plan is not None:
            alone = next((w for w in words if int(w.split(":")[0]) == first.plan), str(first.plan))
            words = words[:words.index(alone) + 1] if alone in words else words + [alone]
            # What fails in one run of some is looked for longer.
            for self.again in (2, 5, 15):
                if self.fails([alone]):
                    words = [alone]
                    break
            else:
                self.again = 0
        if len(words) > 1:
            words = self.smaller(words, self.fails)
        self.again = max(self.again, 3)
        for i, word in enumerate(words):
            seed = word.split(":")[0]

            def with_ops(rest, i=i, seed=seed):
                return words[:i] + [f"{seed}:{ranges(rest)}"] + words[i + 1:]

            left = self.smaller(operations(word, ops), lambda rest: self.fails(with_ops(rest)))
            words = with_ops(left)
        return words


def show(launcher, np, words):
    a = launcher.a
    command, env = launcher.command(np, "self,vader" if not a.lab else "")
    shown = subprocess.run([*command, "--plans", "+".join(words), "--ops", str(a.ops), "--max", a.max,
                            "--threads", str(a.threads), "--show"], env={**os.environ, **env}, check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return shown.stdout.decode(errors="replace")


def failed(launcher, np, plans, result):
    a = launcher.a
    print(f"FAIL storm np={np} {plans}: {result.reason()}")
    for line in result.text.splitlines():
        if re.match(r"(storm|TIMEOUT|FAIL)", line):
            print(f"    {line}")
    os.makedirs(a.logdir, exist_ok=True)
    log = os.path.join(a.logdir, f"storm-{os.getpid()}-np{np}.log")
    with open(log, "w", encoding="utf-8") as file:
        file.write(result.text)
    print(f"    log: {log}")
    sys.stdout.flush()
    words, again = expand(plans), a.again
    if result.plan is not None and str(result.plan) not in words and ":" not in plans:
        words += [str(n) for n in range(int(words[-1]) + 1, result.plan + 1)]
    if not a.no_shrink:
        shrinker = Shrinker(launcher, np, words)
        words, again = shrinker.shrink(result), shrinker.again
        if shrinker.last is None:
            print(f"    it did not fail again in {shrinker.trials} launches")
        else:
            count = sum(len(operations(w, a.ops)) for w in words)
            print(f"    shrunk to {count} operations in {shrinker.trials} launches; the last failure:")
            print(f"    {shrinker.last.reason()}")
            print("    " + show(launcher, np, words).rstrip().replace("\n", "\n    "))
    small = "+".join(words)
    for btl in filter(None, a.against.split(",")):
        if a.lab and btl == "vader":
            continue
        other = launcher.run(np, small, again=again, btl=f"self,{btl}")
        print(f"    over {btl}: {'passes' if other.ok else other.reason()}")
    words = [f"--np {np}", f"--seeds {small}", f"--again {again}", f"--ops {a.ops}", f"--max {a.max}"]
    for name in ("vms", "threads", "lab", "btl", "launcher"):
        value = getattr(a, name)
        if value and (name, value) != ("threads", 1):
            words.append(f"--{name} {shlex.quote(str(value))}")
    words += ["--tiny"] * a.tiny + [f"--mca {shlex.quote(s)}" for s in a.mca]
    print(f"    again: test/mpi/run-storm.py {' '.join(words)}")
    sys.stdout.flush()


def main():
    a = arguments()
    launcher = Launcher(a)
    # atexit runs for SystemExit only
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    plans = a.seeds
    if a.fresh:
        plans = str(int.from_bytes(os.urandom(4), "little") % 1000000000 * 1000)
        print(f"fresh seeds from {plans} on")
    ok, all_plans, all_ops, seconds = True, 0, 0, 0.0
    counts = [int(n) for n in a.np.split(",")]
    for np in counts:
        result = launcher.run(np, plans, again=a.again, seconds=a.seconds // len(counts))
        if result.skipped:
            print(f"skip storm np={np} {result.skipped[1]}")
        elif result.ok:
            if not a.quiet:
                print(f"ok storm np={np} from {plans} on: {result.plans} plans, {result.ops} operations, "
                      f"{result.seconds:.1f} s")
        else:
            ok = False
            failed(launcher, np, plans, result)
        sys.stdout.flush()
        all_plans += result.plans
        all_ops += result.ops
        seconds += result.seconds
    seconds = max(seconds, 0.001)
    print(f"storm: {all_plans} plans ({all_plans / seconds:.2f}/s), {all_ops} operations "
          f"({all_ops / seconds:.0f}/s)")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
