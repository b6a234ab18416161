# SPDX-License-Identifier: BSD-3-Clause
"""Which file calls which: no two may call each other in a circle.

    layers.py OBJECT...                       read from object files, with what the compiler made of them
    layers.py --svg FILE --title TEXT SOURCE...   drawn, from sources: the same picture whatever the compiler

Prints a circle with the symbols that tie it; exit status 1 if there is one. In the drawing each file stands above all
that it calls. Calls by pointer and through inline functions of headers are not seen.
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


def definitions(path):
    """The same of a source: functions and objects that are not static, and all words of it."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"", " ", Path(path).read_text(), flags=re.S)
    # a definition begins in the first column, and is no declaration, type or macro
    defined = set(re.findall(r"^(?!static\b|typedef\b|extern\b|#|return\b)[A-Za-z_][\w \t\n*]*?\b(\w+)\([^;{}]*\)\s*\{", text,
                             re.M))
    defined |= set(re.findall(r"^(?!static\b|typedef\b|extern\b|struct \w+ \{|return\b)(?:const )?[A-Za-z_][\w ]*? \*?(\w+)"
                              r"(?:\[[^]]*\])? *(?:= *\{|;$)", text, re.M))
    return defined, set(re.findall(r"\b[A-Za-z_]\w*\b", re.sub(r"\bstruct \w+", " ", text))) - defined


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


def without_detours(calls):
    """Of the calls those that no longer path shows, too: else there is nothing but lines."""
    below = {}

    def reach(name):
        if name not in below:
            below[name] = set().union(*({other} | reach(other) for other in calls[name]))
        return below[name]
    return {a: {b for b in calls[a] if not any(b in reach(c) for c in calls[a] - {b})} for a in calls}


def drawing(calls, layers, title):
    wide, high, gap, row = 118, 30, 44, 76
    most = max(len(layer) for layer in layers)
    width, height = most * (wide + gap) + gap, len(layers) * row + 56
    place, out = {}, []
    for level, layer in enumerate(layers):
        left = (width - len(layer) * (wide + gap) + gap) / 2
        # near those that it calls
        centre = {n: sum(place[o][0] for o in calls[n]) / len(calls[n]) if calls[n] else 0 for n in layer}
        for i, name in enumerate(sorted(layer, key=lambda n: (centre[n], n))):
            place[name] = left + i * (wide + gap), height - (level + 1) * row + 16
    out.append(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
               'font-size="13">')
    out.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    out.append(f'<text x="{gap}" y="24" font-size="15">{escape(title)}</text>')
    shown = without_detours(calls)
    for name in sorted(shown):
        x, y = place[name][0] + wide / 2, place[name][1] + high
        for other in sorted(shown[name]):
            to, below = place[other][0] + wide / 2, place[other][1]
            out.append(f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + 40:.0f} {to:.0f} {below - 40:.0f} {to:.0f} {below:.0f}" '
                       'stroke="#89a" fill="none"/>')
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
    look = symbols if args.objects[0].endswith(".o") else definitions
    files = {name_of(path): look(path) for path in args.objects}
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
