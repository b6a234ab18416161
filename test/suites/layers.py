# SPDX-License-Identifier: BSD-3-Clause
"""Which file calls which, read from object files: no two may call each other in a circle.

    layers.py [--svg FILE --title TEXT] OBJECT...

Prints each circle with the symbols that tie it; exit status 1 if there is one. With --svg the layers are drawn: each
file stands above all that it calls. Calls by pointer and through inline functions of headers are not seen.
"""
import argparse
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape


def symbols(path):
    """What an object defines for others, and what it takes from them."""
    defined, used = set(), set()
    for line in subprocess.run([os.environ.get("NM", "nm"), "-P", path], capture_output=True, text=True, check=True).stdout.splitlines():
        name, kind = line.split()[:2]
        if kind == "U":
            used.add(name)
        elif kind.isupper():
            defined.add(name)
    return defined, used


def name_of(path):
    """opal/.../.libs/mca_btl_vmshm_la-btl_vmshm_send.o: send"""
    name = re.sub(r"^.*_la-", "", Path(path).stem)
    return re.sub(r"^(btl_|common_)?vmshm_", "", name)


def layers_of(calls):
    """The lowest first: who calls nobody, then who calls only those, and so on."""
    sorter, layers = graphlib.TopologicalSorter(calls), []
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        layers.append(sorted(ready))
        sorter.done(*ready)
    return layers


def drawing(calls, layers, title):
    wide, high, gap, row = 118, 30, 14, 74
    most = max(len(layer) for layer in layers)
    width, height = most * (wide + gap) + gap, len(layers) * row + 60
    place, out = {}, []
    for level, layer in enumerate(layers):
        left = (width - len(layer) * (wide + gap) + gap) / 2
        for i, name in enumerate(layer):
            place[name] = left + i * (wide + gap), height - (level + 1) * row + 10
    out.append(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
               'font-size="13">')
    out.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    out.append(f'<text x="{gap}" y="26" font-size="16">{escape(title)}</text>')
    for name in sorted(calls):
        x, y = place[name]
        for other in sorted(calls[name]):
            to, below = place[other]
            out.append(f'<path d="M{x + wide / 2:.0f} {y + high:.0f}L{to + wide / 2:.0f} {below:.0f}" stroke="#9ab" '
                       'fill="none"/>')
    for name, (x, y) in sorted(place.items()):
        out.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide}" height="{high}" rx="4" fill="#eef4fb" stroke="#468"/>')
        out.append(f'<text x="{x + wide / 2:.0f}" y="{y + 20:.0f}" text-anchor="middle">{escape(name)}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--svg", type=Path)
    p.add_argument("--title", default="Who calls whom: from the top down")
    p.add_argument("objects", nargs="+")
    args = p.parse_args()
    files = {name_of(path): symbols(path) for path in args.objects}
    tied = {a: {b: files[a][1] & files[b][0] for b in files if a != b and files[a][1] & files[b][0]} for a in files}
    calls = {a: set(tied[a]) for a in files}
    try:
        layers = layers_of(calls)
    except graphlib.CycleError as error:
        circle = error.args[1]
        print("a circle:", " <- ".join(circle))
        for callee, caller in zip(circle, circle[1:]):
            print(f"  {caller} uses of {callee}: {' '.join(sorted(tied[caller][callee]))}")
        sys.exit(1)
    print(f"no circle among {len(files)} files, {len(layers)} layers")
    if args.svg:
        args.svg.write_text(drawing(calls, layers, args.title))


main()
