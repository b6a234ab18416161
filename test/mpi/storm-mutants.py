#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does the storm find what it is there to find?

Applies one small change at a time to a copy of the transport's sources, each a real fault of one part of
the protocol, builds the component from it, and runs plan after plan over it until one fails. Prints for
each how long that took, and after how many operations. Nothing of the tree is changed.

    storm-mutants.py                  all, a minute or two each at most
    storm-mutants.py stream-offset    one
    storm-mutants.py --list
    storm-mutants.py --fit            do they fit the sources? Runs nothing

Exit status: 0 all were found, 1 one was not, 2 wrong usage, or a change that does not fit the sources
any more.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BTL = "opal/mca/btl/vmshm"

# Name: what goes wrong, file, text that stands there once, text instead of it.
MUTANTS = {
    "inline-slots": ("a message that ends with one byte in its last slot is counted without that slot",
                     "btl_vmshm_ring.h", "(start + bytes + VMSHM_SLOT_BYTES - 1) / VMSHM_SLOT_BYTES",
                     "(start + bytes + VMSHM_SLOT_BYTES - 2) / VMSHM_SLOT_BYTES"),
    "inline-tail": ("the last byte of one to three is not copied",
                    "btl_vmshm_sendi.c", "for (size_t i = 0; i < bytes; ++i) {",
                    "for (size_t i = 0; i + 1 < bytes; ++i) {"),
    "inline-pad": ("a message may reach a slot beyond the ring's end",
                   "btl_vmshm_ring.h", "slots <= left ? 0 : left", "slots <= left + 1 ? 0 : left"),
    "cell-early": ("a cell is free one message before it was consumed",
                   "btl_vmshm_open.c", "p < head && endpoint->out.cells_out", "p <= head && endpoint->out.cells_out"),
    "cell-twice": ("the cell that is kept for the next message is used for two",
                   "btl_vmshm_sendi.c", "cell = endpoint->out.next_cell;\n        endpoint->out.next_cell = 0;",
                   "cell = endpoint->out.next_cell;"),
    "cell-waiting": ("what gives its cell away while it waits loses its bytes",
                     "btl_vmshm_send.c",
                     "memcpy(frag->heap, frag->segment.seg_addr.pval, frag->segment.seg_len);",
                     "memset(frag->heap, 0, frag->segment.seg_len);"),
    "stream-dropped": ("what the receiver dropped is not sent again",
                       "btl_vmshm_push.c", "offer_again(endpoint, stream);", ""),
    "stream-offset": ("what was dropped begins again where it was",
                      "btl_vmshm_push.c",
                      "move_to(stream, &streams->offered);\n            stream->offset = 0;",
                      "move_to(stream, &streams->offered);"),
    "stream-full": ("one more chunk is put into the channel than it has lines",
                    "btl_vmshm_push.c",
                    "streams->chunks_out - streams->chunks_taken >= MCA_BTL_VMSHM_CHUNKS",
                    "streams->chunks_out - streams->chunks_taken > MCA_BTL_VMSHM_CHUNKS"),
    "growth-flight": ("what is in flight is forgotten when the ring grows",
                      "btl_vmshm_open.c",
                      "inflight[p & (slots - 1)] = endpoint->out.inflight[p & old_mask];", "(void) old_mask;"),
    "growth-first": ("the larger ring begins a position too early",
                     "btl_vmshm_open.c", "make_ring(endpoint, slots, last + 1)",
                     "make_ring(endpoint, slots, last)"),
    "growth-clear": ("half of a larger ring is not made ready",
                     "btl_vmshm_open.c", "p < first + slots; ++p",
                     "p < first + (slots > 8 ? slots / 2 : slots); ++p"),
    "ack-ahead": ("a message acknowledges more than was consumed",
                  "btl_vmshm_ring.h", "(uint32_t) vmshm_load_acquire(&endpoint->in.consumed)",
                  "(uint32_t) vmshm_load_acquire(&endpoint->in.consumed) + 1"),
    "ack-lost": ("the head is shown after 16 KiB only",
                 "btl_vmshm_poll.c", "    } else if (count > 0) {\n        show_head(endpoint);",
                 "    } else if (count > 0) {"),
    "ack-chunk": ("a chunk is given back before it was copied",
                  "btl_vmshm_get.c", "&endpoint->in.my_head->chunks, streams->chunks_in)",
                  "&endpoint->in.my_head->chunks, streams->chunks_in + 1)"),
}


def fail(text):
    print(f"storm-mutants: {text}", file=sys.stderr)
    sys.exit(2)


def openmpi_flags():
    build = os.path.join(TOP, "build")
    for line in open(os.path.join(build, "Makefile"), encoding="utf-8"):
        if line.startswith("OMPI_CPPFLAGS ="):
            cpp = line.split("=", 1)[1].split()
        elif line.startswith("OPAL_LIBS ="):
            libs = line.split("=", 1)[1].split()
    return ["-DHAVE_CONFIG_H", f"-I{build}", *cpp], libs


def fitting(name, path):
    """The source, in which what is to be changed stands once."""
    old = MUTANTS[name][2]
    text = open(path, encoding="utf-8").read()
    if text.count(old) != 1:
        fail(f"{name}: \"{old}\" stands {text.count(old)} times in {os.path.basename(path)}, expected once: "
             "adapt the change")
    return text


def mutate(name, work):
    """The component with one change, in work/inst."""
    what, file, old, new = MUTANTS[name]
    sources = os.path.join(work, "src")
    shutil.rmtree(sources, ignore_errors=True)
    for part in ("opal", "guest-kmod"):
        shutil.copytree(os.path.join(TOP, part), os.path.join(sources, part),
                        ignore=shutil.ignore_patterns("*.ko", "*.o", "*.mod*"))
    for header in ("vmshm_config_top.h",):
        shutil.copy(os.path.join(TOP, header), sources)
    path = os.path.join(sources, BTL, file)
    text = fitting(name, path)
    open(path, "w", encoding="utf-8").write(text.replace(old, new))
    cpp, libs = openmpi_flags()
    inst = os.path.join(work, "inst")
    shutil.rmtree(inst, ignore_errors=True)
    shutil.copytree(os.path.join(TOP, "build/inst"), inst, symlinks=True)
    common = os.path.join(inst, "lib")
    objects = sorted(os.path.join(sources, BTL, f) for f in os.listdir(os.path.join(sources, BTL))
                     if f.endswith(".c"))
    command = ["gcc", "-std=gnu11", "-O2", "-g", "-fPIC", "-shared", "-mcx16", f"-I{sources}",
               f"-I{sources}/opal/mca/common/vmshm", f"-I{sources}/guest-kmod", *cpp, *objects,
               f"-L{common}", "-lmca_common_vmshm", *libs, "-Wl,-rpath,$ORIGIN/..",
               "-o", os.path.join(common, "openmpi/mca_btl_vmshm.so")]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if built.returncode != 0:
        fail(f"{name} does not compile:\n{built.stdout.decode()}")
    return inst, what


def hunt(name, a, work):
    inst, what = mutate(name, work)
    start, plans = time.monotonic(), 0
    for seed in range(1, a.plans + 1):
        # With much memory and with little, few large messages and many small ones.
        options = ["--tiny"] if seed % 2 == 0 else []
        plans += 1
        run = subprocess.run([os.path.join(HERE, "run-storm.py"), "--prefix", inst, "--seeds", str(seed),
                              "--np", "3", "--max", "1M", "--watchdog", "20", "--no-shrink", "--against", "",
                              "--logdir", work, *options], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False)
        if run.returncode == 1:
            took = time.monotonic() - start
            text = next((line for line in run.stdout.decode(errors="replace").splitlines()
                         if line.startswith("FAIL")), "FAIL")
            print(f"ok   {name} ({what}): found in {took:.0f} s, plan {plans}, within {150 * plans} "
                  f"operations: {text.split(': ', 1)[-1][:150]}")
            return True
        if run.returncode != 0:
            fail(run.stdout.decode(errors="replace"))
    print(f"FAIL {name} ({what}): not found in {plans} plans, {time.monotonic() - start:.0f} s")
    return False


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--list", action="store_true")
    p.add_argument("--fit", action="store_true")
    p.add_argument("--plans", type=int, default=40, help="plans of 150 operations at most (default 40)")
    p.add_argument("name", nargs="*")
    a = p.parse_args()
    for name in a.name:
        if name not in MUTANTS:
            fail(f"there is no mutant {name}; --list shows them")
    if a.list:
        for name, mutant in MUTANTS.items():
            print(f"{name:16} {mutant[0]} ({mutant[1]})")
        return 0
    if a.fit:
        for name in a.name or MUTANTS:
            fitting(name, os.path.join(TOP, BTL, MUTANTS[name][1]))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory(prefix="storm-mutants.") as work:
        for name in a.name or MUTANTS:
            missed += not hunt(name, a, work)
            sys.stdout.flush()
    print(f"{len(a.name or MUTANTS) - missed} passed, {missed} failed")
    return 0 if missed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
