# SPDX-License-Identifier: BSD-3-Clause
"""What vmshm-bench makes of its blocks: medians and quartiles, the table of goals, text, curves, and
the comparison with an earlier report."""
import json
import shutil
import subprocess

VERSION = 1

TRANSPORTS = {
    "vmshm": "vmshm between two User-Mode Linux guests",
    "vmshm-native": "vmshm between processes of this machine (file provider)",
    "before": "the same with the build of --before",
    "before-native": "the same, natively",
    "vader": "vader, two copies (single_copy_mechanism none)",
    "vader-default": "vader with its default single copy",
    "tcp": "tcp between the guests",
    "mpich": "MPICH's shared memory",
}

# title, unit, whether less is better
PARTS = {
    "latency": ("one-way time", "us", True),
    "rate": ("message rate, windows of messages under way", "M/s", False),
    "bandwidth": ("bandwidth, windows of messages under way", "GB/s", False),
    "bidir": ("bandwidth of both directions together", "GB/s", False),
    "overlap": ("exchange with computation over computation alone (1: all overlaps, 2: nothing)",
                "ratio", True),
    "flood": ("unexpected messages, time for each", "us", True),
    "pairs": ("message rate of all pairs together", "M/s", False),
    "silent": ("one-way time with silent ranks connected", "us", True),
    "lammps": ("LAMMPS melt, 4000 atoms, 500 steps", "s", True),
}

RATIOS = [("vmshm", "vader"), ("vmshm-native", "vader"), ("vmshm", "vmshm-native"),
          ("vmshm-native", "vader-default"), ("vmshm-native", "mpich"), ("vmshm", "tcp"),
          ("vmshm", "before"), ("vmshm-native", "before-native")]

KIB = 1024
SMALL, MIDDLE, LARGE = (1, 64), (512, 4 * KIB), (8 * KIB, 64 * KIB)
NATIVE = [("vmshm", "vader"), ("vmshm-native", "vader")]
# what, part, least and greatest size, which ratio, the goal, the pairs it is for
GOALS = [
    ("latency", "latency", SMALL, "ratios", ("<=", 1.0), NATIVE),
    ("latency", "latency", MIDDLE, "ratios", ("<=", 0.9), NATIVE),
    ("latency", "latency", LARGE, "ratios", ("<=", 0.6), NATIVE),
    ("bandwidth", "bandwidth", (128 * KIB, 4096 * KIB), "ratios", (">=", 1.1), NATIVE),
    ("message rate", "rate", (8, 8), "ratios", (">=", 1.2), NATIVE),
    ("software's share", "latency", (8, 8), "software", ("<=", 0.9), NATIVE),
    ("latency", "latency", (1, 16384 * KIB), "ratios", ("<=", 1.05), [("vmshm", "vmshm-native")]),
    ("bandwidth", "bandwidth", (1, 16384 * KIB), "ratios", (">=", 0.95),
     [("vmshm", "vmshm-native")]),
]


def quantile(values, q):
    values = sorted(values)
    at = (len(values) - 1) * q
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def spread(values):
    """None if there is nothing."""
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": quantile(values, 0.5), "q1": quantile(values, 0.25),
            "q3": quantile(values, 0.75), "n": len(values)}


def name_of(pair):
    return f"{pair[0]}/{pair[1]}"


# -- figures ----------------------------------------------------------------------------------

def share_of_limit(block, transport, less):
    value, limit = block["values"].get(transport), block["limit"]
    if not value or not limit:
        return None
    return limit / value if less else value / limit


def ratios_within(blocks, value):
    """value(block, transport): a number or None. Ratios whose divisor is not positive say nothing."""
    result = {}
    for a, b in RATIOS:
        both = [(value(block, a), value(block, b)) for block in blocks]
        s = spread([x / y for x, y in both if x is not None and y is not None and y > 0])
        if s:
            result[name_of((a, b))] = s
    return result


def software(block, transport):
    """What the one-way time has beyond the bare cache line, in us."""
    value = block["values"].get(transport)
    return None if value is None else value - block["line_ns"] / 1e3


def evaluate_point(point, regime, transports):
    less = PARTS[point.part][2]
    blocks = [b for b in point.kept() if b["regime"] == regime]
    result = {
        "part": point.part, "bytes": point.size, "window": point.window, "ranks": point.ranks,
        "regime": regime, "blocks": len(blocks),
        "figures": {t: spread([b["values"].get(t) for b in blocks]) for t in transports},
        "limit": spread([b["limit"] for b in blocks]),
        "share_of_limit": {t: spread([share_of_limit(b, t, less) for b in blocks])
                           for t in transports},
        "ratios": ratios_within(blocks, lambda b, t: b["values"].get(t)),
    }
    if point.part == "latency" and point.size == 8:
        result["software"] = ratios_within(blocks, software)
    if point.part == "silent":
        result["added_ns"] = {t: spread([b["silent_ns"].get(t) for b in blocks])
                              for t in transports}
    return result


def evaluate(points, host, levels, memory, transports, skipped, options):
    """The report, as it is written to report.json."""
    every = [b for p in points for b in p.blocks]
    figures = [evaluate_point(p, regime, transports) for p in points for regime in ("near", "far")
               if any(b["regime"] == regime for b in p.kept())]
    report = {
        "version": VERSION, "host": host, "options": options,
        "transports": {t: TRANSPORTS[t] for t in transports}, "skipped": skipped,
        "line_ns": {r: spread([b["line_ns"] for b in every if b["regime"] == r])
                    for r in ("near", "far")},
        "memcpy": [{"level": x["name"], "bytes": x["bytes"], "gb_per_s": spread(x["gb_per_s"])}
                   for x in levels],
        "dropped": {why: sum(b["dropped"] == why for b in every)
                    for why in ("regime", "disturbed")},
        "blocks": sum(not b["dropped"] for b in every),
        "without_figures": [{"part": p.part, "bytes": p.size} for p in points if not p.kept()],
        "points": figures, "memory": memory,
    }
    report["goals"] = goals(figures)
    return report


def goals(points):
    result = []
    for what, part, (least, most), kind, (sign, goal), pairs in GOALS:
        for point in points:
            if point["part"] != part or not least <= point["bytes"] <= most:
                continue
            for pair in pairs:
                value = point.get(kind, {}).get(name_of(pair))
                if value:
                    met = value["median"] <= goal if sign == "<=" else value["median"] >= goal
                    result.append({"what": what, "bytes": point["bytes"], "regime": point["regime"],
                                   "ratio": name_of(pair), "value": value, "goal": f"{sign} {goal}",
                                   "met": met})
    return result


def load(path, die):
    try:
        report = json.loads(path.read_text())
        if report["version"] != VERSION:
            die(f"{path} is of version {report['version']}, not {VERSION}", 2)
        for point in report["points"]:
            _ = key_of(point), point["ratios"]
    except OSError as error:
        die(f"cannot read {path}: {error.strerror}", 2)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        die(f"{path} is not a report of vmshm-bench ({error!r})", 2)
    return report


# -- comparison -------------------------------------------------------------------------------

LEAST_CHANGE = 1.05
LEAST_BLOCKS = 4        # of fewer, the quartiles say nothing


def key_of(point):
    return point["part"], point["bytes"], point["window"], point["ranks"], point["regime"]


def judge(old, new, less):
    """How many times worse the median became, and whether that is more than chance: the ranges
    between the quartiles do not touch."""
    if less:
        worse = new["median"] / old["median"]
        apart = new["q1"] > old["q3"]
    else:
        worse = old["median"] / new["median"]
        apart = new["q3"] < old["q1"]
    return worse, worse > LEAST_CHANGE and apart


def compare(old, new):
    """The lines to print and the number of regressions."""
    before = {key_of(p): p for p in old["points"]}
    lines, regressions, compared, too_few = [], 0, 0, 0
    for point in new["points"]:
        earlier = before.get(key_of(point))
        less = PARTS[point["part"]][2]
        for name, value in point["ratios"].items():
            then = earlier["ratios"].get(name) if earlier else None
            if not then or min(then["median"], value["median"]) <= 0:
                continue
            if min(then["n"], value["n"]) < LEAST_BLOCKS:
                too_few += 1
                continue
            compared += 1
            worse, certain = judge(then, value, less)
            if certain:
                regressions += 1
                lines.append(f"WORSE  {point['part']} {size_text(point['bytes'])} {point['regime']}: "
                             f"{name} {spread_text(then)} -> {spread_text(value)}, "
                             f"{100 * (worse - 1):.0f} % worse")
    if too_few:
        lines.append(f"not compared: {too_few} ratios, of fewer than {LEAST_BLOCKS} blocks")
    if compared == 0:
        lines.append("compared: nothing; the reports have no point and regime in common, or too few blocks")
    else:
        lines.append(f"compared: {compared} ratios, {regressions} became worse")
    return lines, regressions


# -- text -------------------------------------------------------------------------------------

def number(x):
    if x is None:
        return "-"
    for limit, digits in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if abs(x) >= limit:
            return f"{x:.{digits}f}"
    return f"{x:.3f}"


def spread_text(s):
    return f"{number(s['median'])} ({number(s['q1'])} .. {number(s['q3'])})" if s else "-"


def short_text(s):
    if not s:
        return "-"
    half = 50 * (s["q3"] - s["q1"]) / abs(s["median"]) if s["median"] else 0
    return f"{number(s['median'])} ±{half:.0f}%"


def size_text(n):
    for unit, name in ((KIB * KIB, "MiB"), (KIB, "KiB")):
        if n >= unit and n % unit == 0:
            return f"{n // unit} {name}"
    return f"{n} B" if n else ""


def table(rows):
    """The first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])])
            for row in rows]


def part_text(points, transports, part, cpus):
    title, unit, _ = PARTS[part]
    if part == "pairs" and points[0]["ranks"] > cpus:
        title += f" ({points[0]['ranks']} ranks on {cpus} CPUs; a guest has one)"
    head = ["", "regime", "blocks"]
    figures = [[*head, *transports, "limit"]]
    shares = [[*head, *transports]]
    names = [name_of(r) for r in RATIOS if any(name_of(r) in p["ratios"] for p in points)]
    ratios = [[*head, *names]]
    added = [[*head, *transports]]
    for p in points:
        size = size_text(p["bytes"]) + (f" x {p['window']}" if p["window"] > 1 else "")
        label = [size, p["regime"], str(p["blocks"])]
        figures.append(label + [short_text(p["figures"].get(t)) for t in transports]
                       + [short_text(p["limit"])])
        shares.append(label + [f"{100 * s['median']:.0f} %" if s else "-"
                               for s in (p["share_of_limit"].get(t) for t in transports)])
        ratios.append(label + [spread_text(p["ratios"].get(n)) for n in names])
        if "added_ns" in p:
            added.append(label + [spread_text(p["added_ns"].get(t)) for t in transports])
    lines = ["", f"{part}: {title}, {unit}", *table(figures)]
    if any(p["limit"] for p in points):
        lines += ["share of the limit", *table(shares)]
    if names:
        lines += ["ratios", *table(ratios)]
    if len(added) > 1:
        lines += ["added by the silent ranks, ns", *table(added)]
    return lines


def verdict(goal):
    text = "met" if goal["met"] else "NOT MET"
    wanted = float(goal["goal"].split()[1])
    within = goal["value"]["q1"] <= wanted <= goal["value"]["q3"]
    return text + (", within the spread" if within else "")


def goals_text(found):
    rows = [["goal", "size", "regime", "wanted", "ratio", "median (quartiles)", ""]]
    for g in found:
        rows.append([g["what"], size_text(g["bytes"]), g["regime"], g["goal"], g["ratio"],
                     spread_text(g["value"]), verdict(g)])
    met = sum(g["met"] for g in found)
    return ["", f"goals: {met} of {len(found)} are met; no verdict, the machine is part of them",
            *table(rows)]


def text(report):
    host = report["host"]
    lines = [f"machine: {host['cpu']}, CPUs {', '.join(str(c) for c in host['cpus'])}; Open MPI "
             f"{host['open_mpi']}, MPICH {host['mpich'] or 'not installed'}",
             f"load average: {host['load_before']:.1f} before, {host['load_after']:.1f} after",
             f"blocks: {report['blocks']} kept, {report['dropped']['regime']} dropped as the regime "
             f"changed, {report['dropped']['disturbed']} as the samples were disturbed"]
    lines += [f"{t}: {what}" for t, what in report["transports"].items()]
    lines += [f"{t}: skipped, because {why}" for t, why in report["skipped"].items()]
    lines += [f"no figures for {p['part']} {size_text(p['bytes'])}: every block was disturbed"
              for p in report["without_figures"]]
    lines += ["Figures are medians over the blocks, ± half the distance of the quartiles; ratios are "
              "taken within", "each block: median (quartiles).",
              "", "limits: the bare cache line, ns, and memcpy, GB/s"]
    lines += [f"  cache line, {r}: {spread_text(s)}" for r, s in report["line_ns"].items() if s]
    lines += [f"  memcpy, {m['level']} ({size_text(m['bytes'])}): {spread_text(m['gb_per_s'])}"
              for m in report["memcpy"] if m["gb_per_s"]]
    transports = list(report["transports"])
    for part in PARTS:
        points = [p for p in report["points"] if p["part"] == part]
        if points:
            lines += part_text(points, transports, part, len(host["cpus"]))
    if report["memory"]:
        lines += ["", "memory: what a rank's windows hold when only neighbours talk"]
        lines += [f"  {m['ranks']} ranks: at most {size_text(m['most_per_rank'])} per rank, of which "
                  f"{m['table_bytes']} B are tables for {m['possible_processes']} possible processes"
                  for m in report["memory"]]
    if report["goals"]:
        lines += goals_text(report["goals"])
    return "\n".join(lines) + "\n"


# -- curves -----------------------------------------------------------------------------------

# Colours that colour-blind readers tell apart.
STYLES = {"vmshm": "#0072B2", "vmshm-native": "#56B4E9", "vader": "#009E73",
          "vader-default": "#E69F00", "tcp": "#D55E00", "mpich": "#CC79A7",
          "before": "#999999", "before-native": "#BBBBBB", "limit": "#000000"}

GNUPLOT = """
set terminal svg size 900,560 font "Helvetica,15" background "white"
set output "{file}"
set title "{title}"
set xlabel "message size (bytes)"
set ylabel "{ylabel}"
set logscale x 2
{scale}
set xtics ("1" 1, "8" 8, "64" 64, "512" 512, "4 Ki" 4096, "32 Ki" 32768, "256 Ki" 262144, \\
           "2 Mi" 2097152, "16 Mi" 16777216)
set grid xtics ytics lc rgb "#d0d0d0"
set key {key} reverse Left box lc rgb "#d0d0d0" opaque
"""


def curve(points, value):
    return [(p["bytes"], s["median"], s["q1"], s["q3"]) for p in points for s in [value(p)] if s]


def draw(path, title, ylabel, scale, key, curves):
    """curves: (name, colour, dash, rows)"""
    script = GNUPLOT.format(file=path, title=title, ylabel=ylabel, scale=scale, key=key)
    plots = []
    for i, (name, colour, dash, rows) in enumerate(curves):
        data = "\n".join(" ".join(f"{x:.9g}" for x in row) for row in rows)
        script += f"$d{i} << EOD\n{data}\nEOD\n"
        plots.append(f'$d{i} using 1:2:3:4 with yerrorlines lw 2 dt {dash} pt 7 ps 0.5 '
                     f'lc rgb "{colour}" title "{name}"')
    if plots:
        script += "plot " + ", ".join(plots) + "\n"
        subprocess.run(["gnuplot"], input=script, text=True, check=True)


def plot(report, directory):
    """One curve each for times, bandwidth and their ratios, for each regime; says why not."""
    if not shutil.which("gnuplot"):
        return "gnuplot is missing (Debian: gnuplot-nox)"
    log = 'set logscale y 10\nset format y "%g"'
    for regime in ("near", "far"):
        for part, ylabel, key in (("latency", "one-way time (microseconds)", "top left"),
                                  ("bandwidth", "bandwidth (GB/s)", "bottom right")):
            points = [p for p in report["points"] if p["part"] == part and p["regime"] == regime]
            points.sort(key=lambda p: p["bytes"])
            names = [*report["transports"], "limit"]
            curves = [(n, STYLES[n], 1 if n.startswith("vmshm") else 2, rows) for n in names
                      for rows in [curve(points, lambda p, n=n: p["limit"] if n == "limit"
                                         else p["figures"].get(n))] if rows]
            draw(directory / f"{part}-{regime}.svg", f"{PARTS[part][0]} ({regime})", ylabel, log, key,
                 curves)
            ratios = [(name_of(r), colour, 1, rows) for r, colour in
                      ((NATIVE[0], "#0072B2"), (NATIVE[1], "#56B4E9"), (RATIOS[2], "#E69F00"))
                      for rows in [curve(points, lambda p, r=r: p["ratios"].get(name_of(r)))] if rows]
            draw(directory / f"{part}-ratios-{regime}.svg", f"{PARTS[part][0]}: ratios ({regime})",
                 "ratio", "set yrange [0:*]", "bottom right", ratios)
    return None
