# SPDX-License-Identifier: BSD-3-Clause
"""What docs.sh compares: docs.py WHAT TOP WORK. Prints what differs; exit status 1 if anything does."""
import hashlib
import re
import sys
from pathlib import Path

what, top, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
BTL = "opal/mca/btl/vmshm"
COMMON = "opal/mca/common/vmshm"
# The format's version, and a fingerprint of its structs.
FORMAT = ("4", "9560fb4a550582c5")
found = []


def read(name):
    return (top / name).read_text()


def wrong(text):
    found.append(text)


def plain(roff):
    """A man page without its markup."""
    return re.sub(r"\\f.", "", roff.replace("\\-", "-"))


def mca_parameters():
    """Of the component: name -> default; of all that it has: the same."""
    def listed(name):
        return dict(re.findall(r"param:btl_(\w+):value:(.*)", (work / name).read_text()))
    everything = listed("vmshm")
    base = {n.replace("self_", "vmshm_", 1) for n in listed("self")}
    everything = {"btl_" + n: v for n, v in everything.items()}
    own = {n: v for n, v in everything.items() if n[4:] not in base}
    return own, everything


def common_parameters():
    """Open MPI prints parameters of frameworks only, so the source has to tell: its help texts have the defaults."""
    source = re.sub(r'"\s+"', "", read(f"{COMMON}/common_vmshm.c"))
    return {"common_vmshm_" + n: d for n, d in re.findall(
        r'register\("opal", "common", "vmshm", "(\w+)",\s*"(?:[^"\\]|\\.)*?\(default: (\w+)', source)}


def compare_parameters():
    own, everything = mca_parameters()
    common = common_parameters()
    if len(own) < 8 or len(common) < 3:
        wrong(f"only {len(own)} + {len(common)} parameters were found: ompi_info or the source has another form")
    table = dict(re.findall(r"^\| `((?:btl|common)_vmshm_\w+)` \| ([^|]*) \|", read("README.md"), re.M))
    page = dict(re.findall(r'((?:btl|common)_vmshm_\w+)[ "]+\((\w*)\)', plain(read("doc/man/vmshm.7"))))
    for where, said in ("README.md", table), ("doc/man/vmshm.7", page):
        for name in sorted((own.keys() | common.keys()) - said.keys()):
            wrong(f"{where}: {name} is missing")
        for name, default in sorted(said.items()):
            if name not in everything and name not in common:
                wrong(f"{where}: there is no parameter {name}")
            value = {"false": "0", "true": "1"}.get(everything.get(name), everything.get(name))
            value = value or common.get(name)
            if value is not None and default.strip("`()") != value:
                wrong(f"{where}: {name} has default {value}, not {default}")


def compare_module():
    source = "".join(p.read_text() for p in sorted((top / "guest-kmod").glob("*.c")))
    parameters = {n: d for n, d in re.findall(
        r'MODULE_PARM_DESC\((\w+),\s*((?:"[^"]*"\s*)+)\)', source)}
    if parameters.keys() != set(re.findall(r"module_param\((\w+),", source)):
        wrong("guest-kmod: a parameter has no description, or a description no parameter")
    table = {}
    for names, default in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]*) \|", read("guest-kmod/README.md"), re.M):
        for name in re.findall(r"`(\w+)`", names):
            table[name] = default
    for name, text in sorted(parameters.items()):
        default = re.search(r"\(default: ([-\w]+)", text)
        if not default:
            wrong(f"guest-kmod: the description of {name} has no default")
        elif name not in table:
            wrong(f"guest-kmod/README.md: {name} is missing")
        elif default.group(1) != table[name]:
            wrong(f"guest-kmod/README.md: {name} has default {default.group(1)}, not {table[name]}")


def compare_tool():
    commands = (work / "commands").read_text().split()
    sections = dict(re.findall(r"^\.SS ([\w-]+)\n(.*?)(?=^\.S[SH])", plain(read("doc/man/vmshmctl.1")), re.M | re.S))
    if sorted(commands) != sorted(sections):
        wrong(f"doc/man/vmshmctl.1: commands {sorted(sections)}, vmshmctl has {sorted(commands)}")
    synopsis = plain(read("doc/man/vmshmctl.1")).split(".SH DESCRIPTION")[0]
    for command in commands:
        said = sections.get(command, "") + synopsis.partition(f"vmshmctl {command}")[2].partition("vmshmctl")[0]
        options = set(re.findall(r"--[a-z][a-z-]*", (work / f"help-{command}").read_text()))
        for option in sorted(options - {"--help"}):
            if not re.search(re.escape(option) + r"(?![\w-])", said):
                wrong(f"doc/man/vmshmctl.1: {command} {option} is missing")
        for option in sorted(set(re.findall(r"^\.BI? (--[a-z][a-z-]*)", sections.get(command, ""), re.M)) - options):
            wrong(f"doc/man/vmshmctl.1: {command} has no option {option}")


def compare_topics():
    topics = set(re.findall(r"^\[([^]]+)\]", read(f"{BTL}/help-btl-vmshm.txt"), re.M))
    source = "".join(p.read_text() for p in sorted((top / BTL).glob("*.c")))
    used = set(re.findall(r'help-btl-vmshm\.txt",\s*"([^"]+)"', source))
    codes = set(re.findall(r'\{ "([a-z ]+)",', read(f"{COMMON}/vmshm_error.c"))) - {"none"}      # no error
    for topic in sorted((used | codes) - topics):
        wrong(f"help-btl-vmshm.txt: no topic [{topic}]")
    for topic in sorted(topics - used - codes):
        wrong(f"help-btl-vmshm.txt: nobody uses [{topic}]")


def compare_format():
    version = re.search(r"#define VMSHM_FORMAT_VERSION\s+(\d+)u", read(f"{COMMON}/vmshm_format.h")).group(1)
    for said in re.findall(r"[Ff]ormat version (\d+)", read("doc/format.md")) or ["none"]:
        if said != version:
            wrong(f"doc/format.md: format version {said}, vmshm_format.h has {version}")
    # Another build finds old structs, or new ones, under the same number otherwise.
    text = re.sub(r"/\*.*?\*/", "", read(f"{COMMON}/vmshm_format.h"), flags=re.S)
    shapes = re.findall(r"^struct \w+ \{.*?^\};", text, re.M | re.S)
    now = hashlib.sha256(re.sub(r"\s+", " ", " ".join(shapes)).encode()).hexdigest()[:16]
    if (version, now) != FORMAT:
        wrong(f"vmshm_format.h: the structs of format {version} are not those of format {FORMAT[0]}: raise the version if "
              f"what stands in shared memory changed, and note {(version, now)} in docs.py")


def compare_files():
    for name in re.findall(r"^    ([\w./-]+/[\w./-]*)(?:  | *$)", read("README.md"), re.M):
        if not (top / name).exists() and not name.startswith("/"):
            wrong(f"README.md: {name} is not there")
    there = {p.name for p in top.rglob("*vmshm*.[ch]") if "build" not in p.relative_to(top).parts}
    texts = [*top.glob("doc/*.md"), *top.glob("test/model/*.pml"), *top.glob("test/mpi/storm-mutants.py"),
             *(top / "opal").rglob("*.[ch]"), *top.glob("guest-kmod/*.[ch]"), *top.glob("guest-kmod/README.md"), *top.glob("README.md")]
    for text in texts:
        for name in sorted(set(re.findall(r"\b(?:btl_|common_)?vmshm_\w+\.[ch]\b", text.read_text())) - there):
            if name not in ("vmshm_config.h", "vmshm_features.h"):      # made by configure and the module's build
                wrong(f"{text.relative_to(top)}: there is no {name}")
    code = "".join(p.read_text() for d in ("opal", "guest-kmod") for p in (top / d).rglob("*.[ch]"))
    for name in re.findall(r"`(\w+)\(\)`", read("doc/developers.md")):
        if not re.search(rf"\b{name}\(", code):
            wrong(f"doc/developers.md: there is no function {name}")


# What Open MPI 4.1, 5.0 and 6.0 have under different names, or in different shapes.
VERSION_DEPENDENT = (
    r"OPAL_MODEX_\w+|OPAL_PMIX_\w+|PMIX_\w+|PMIx_\w+|opal_pmix\w*|opal/mca/pmix/[\w.-]+|"
    r"orte_\w+|ORTE_\w+|prte_\w+|PRTE_\w+|"
    r"ompi_communicator\w*|ompi_mpi_communicators|ompi_comm_\w+|ompi_group\w*|ompi/(?:communicator|group)/[\w.]+|"
    r"mca_pml_ob1\w*|mca_pml_base_selected_component|BTL_VERSION|OPAL_(?:MAJOR|MINOR|RELEASE)_VERSION|"
    r"opal_version_string|OPAL_IDENT_STRING|mca_btl_base_component_\d\w*|"
    r"mca_btl_base_receive_descriptor_t|OPAL_MODULE_DECLSPEC|OPAL_CUDA_\w+|\w*built_with_cuda\w*|MCA_BTL_FLAGS_(?:CUDA|ACCELERATOR)\w*|opal_convertor_need_buffers|"
    r"opal_convertor_on_device|btl_ft_event|proc_hostname|opal_get_proc_hostname|opal/(?:mca/)?threads/[\w.]+")


def compare_versions():
    """Comments may name them, code only where what differs stands."""
    files = [p for d in (BTL, COMMON) for p in sorted((top / d).glob("*.[ch]"))]
    compat = [p for p in files if re.match(r"(btl|common)_vmshm_compat", p.name)]
    named = 0
    for path in files:
        code = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), path.read_text(), flags=re.S)
        for number, line in enumerate(code.splitlines(), 1):
            for name in re.findall(rf"(?<!\w)(?:{VERSION_DEPENDENT})(?!\w)", line):
                if path in compat:
                    named += 1
                else:
                    wrong(f"{path.relative_to(top)}:{number}: {name} is not the same in all versions of Open MPI: "
                          "it belongs into btl_vmshm_compat.h or common_vmshm_compat.h")
    if len(compat) < 3 or named < 10:
        wrong(f"only {named} such names are in {len(compat)} compat files: they have another form")


globals()["compare_" + what]()
for line in found:
    print(line)
sys.exit(1 if found else 0)
