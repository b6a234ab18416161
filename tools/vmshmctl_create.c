/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl create: lay out a segment.
 *
 * A new segment is made beside its final name and renamed when it is whole, so that a VM never
 * attaches half of one. An existing file is filled in place and keeps its size: VMs have that
 * very inode mapped, a new file under the same name would be another memory, and a shorter one
 * would kill them with SIGBUS.
 */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include "vmshm_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_BYTES (UINT64_C(1) << 30)
#define NUMA_AUTO     (VMSHM_NO_NUMA - 1)

struct plan {
    const char *path;
    bool force, sparse, any_size;
    uint64_t total;                          /* 0: as much as the sections need */
    uint64_t section[VMSHM_MAX_VMS];         /* wished length, 0: an equal share */
    uint64_t section_all;
    const char *open;                        /* PERCENT or SIZE, NULL: none */
    uint32_t numa[VMSHM_MAX_VMS];
    mode_t mode;
    const char *group;
    uint64_t page;
    bool in_memory;                          /* tmpfs or hugetlbfs */
    struct vmshm_header header;
    struct vmshm_section_entry entry[VMSHM_MAX_VMS];
};

/* ----------------------------------------------------------------------------- what is wanted */

/* One by which the segment can be found again. */
static int new_path(const struct ctl_command *self, int argc, char **argv, const char **path)
{
    const int status = ctl_path_argument(self, argc, argv, path);
    const size_t most = sizeof ((struct vmshm_segment *) NULL)->path - 1;

    if (CTL_OK != status) {
        return status;
    }
    if (strlen(*path) > most) {
        return ctl_usage_error(self, "PATH", NULL, "it is longer than %zu bytes, so nobody could open it", most);
    }
    if (vmshm_provider_is_name(*path)) {
        return ctl_usage_error(self, "PATH", "Give the file's directory, too: ./NAME.",
                               "where a segment is looked for '%s' is no file but %s", *path,
                               0 == strcmp(*path, "auto") ? "any device" : "a device or a segment's UUID");
    }
    return CTL_OK;
}

static int parse(const struct ctl_command *self, int argc, char **argv, struct plan *p)
{
    static const struct option options[] = {
        { "force", no_argument, NULL, 'f' }, { "vms", required_argument, NULL, 'v' },
        { "size", required_argument, NULL, 's' },
        { "section-size", required_argument, NULL, 'S' },
        { "section", required_argument, NULL, 'x' }, { "open", required_argument, NULL, 'o' },
        { "procs", required_argument, NULL, 'p' }, { "windows", required_argument, NULL, 'w' },
        { "numa", required_argument, NULL, 'n' }, { "mode", required_argument, NULL, 'm' },
        { "group", required_argument, NULL, 'g' }, { "any-size", no_argument, NULL, 'a' },
        { "sparse", no_argument, NULL, 'z' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    const char *rest;
    uint32_t vm;
    char *end;
    int c;

    p->mode = 0660;
    p->header.vms = 2;
    p->header.procs = 256;
    p->header.windows = 1024;
    for (vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
        p->numa[vm] = VMSHM_NO_NUMA;
    }
    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        switch (c) {
        case 'f':
            p->force = true;
            break;
        case 'a':
            p->any_size = true;
            break;
        case 'z':
            p->sparse = true;
            break;
        case 'v':
            if (!ctl_parse_u32(optarg, &p->header.vms) || p->header.vms < 1
                || p->header.vms > VMSHM_MAX_VMS) {
                return ctl_usage_error(self, "--vms", NULL, "'%s' is not in 1 .. %u", optarg,
                                       VMSHM_MAX_VMS);
            }
            break;
        case 'p':
            if (!ctl_parse_u32(optarg, &p->header.procs) || p->header.procs < 1
                || p->header.procs > VMSHM_MAX_PROCS) {
                return ctl_usage_error(self, "--procs", NULL, "'%s' is not in 1 .. %u", optarg,
                                       VMSHM_MAX_PROCS);
            }
            break;
        case 'w':
            if (!ctl_parse_u32(optarg, &p->header.windows) || p->header.windows < 64
                || p->header.windows > VMSHM_MAX_WINDOWS || 0 != p->header.windows % 64) {
                return ctl_usage_error(self, "--windows", NULL,
                                       "'%s' is not a multiple of 64 in 64 .. %u", optarg,
                                       VMSHM_MAX_WINDOWS);
            }
            break;
        case 's':
        case 'S':
            if (!ctl_parse_size(optarg, 's' == c ? &p->total : &p->section_all)
                || 0 == ('s' == c ? p->total : p->section_all)) {
                return ctl_usage_error(self, 's' == c ? "--size" : "--section-size",
                                       "Give a number of bytes, or one with K, M, G or T: 512M.",
                                       "'%s' is not a size", optarg);
            }
            break;
        case 'x':
            if (!ctl_parse_indexed(optarg, &vm, &rest) || vm >= VMSHM_MAX_VMS
                || !ctl_parse_size(rest, &p->section[vm]) || 0 == p->section[vm]) {
                return ctl_usage_error(self, "--section", "Write it as in --section 1:512M.",
                                       "'%s' is not VM:SIZE", optarg);
            }
            break;
        case 'o':
            p->open = optarg;
            break;
        case 'n':
            if (0 == strcmp(optarg, "auto")) {
                for (vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
                    p->numa[vm] = NUMA_AUTO;
                }
            } else if (!ctl_parse_indexed(optarg, &vm, &rest) || vm >= VMSHM_MAX_VMS
                       || !ctl_parse_u32(rest, &p->numa[vm]) || p->numa[vm] >= NUMA_AUTO) {
                return ctl_usage_error(self, "--numa", "Write it as in --numa 1:0, or --numa auto.",
                                       "'%s' is not VM:NODE", optarg);
            }
            break;
        case 'm':
            p->mode = (mode_t) strtoul(optarg, &end, 8);
            if ('\0' == optarg[0] || '\0' != *end || 0 != (p->mode & ~0777u)) {
                return ctl_usage_error(self, "--mode", "Give an octal number such as 0660.",
                                       "'%s' is not a mode", optarg);
            }
            break;
        case 'g':
            p->group = optarg;
            break;
        default:
            return ctl_option_end(self, c, argv);
        }
    }
    for (vm = p->header.vms; vm < VMSHM_MAX_VMS; ++vm) {
        if (0 != p->section[vm] || p->numa[vm] < NUMA_AUTO) {
            return ctl_usage_error(self, "--vms", "Raise --vms, or leave the VM out.",
                                   "VM %u is named, but there are only VMs 0 to %u", vm,
                                   p->header.vms - 1);
        }
    }
    return new_path(self, argc, argv, &p->path);
}

/* ----------------------------------------------------------------------------------- the plan */

/* The page size is that of the file system which holds (or will hold) the file. */
static int find_page(struct plan *p, struct vmshm_error *e)
{
    char dir[512];
    struct statfs fs;
    char *slash;

    snprintf(dir, sizeof dir, "%s", p->path);
    slash = strrchr(dir, '/');
    if (NULL == slash) {
        snprintf(dir, sizeof dir, ".");
    } else {
        slash[slash == dir] = '\0';
    }
    if (0 != statfs(dir, &fs)) {
        return vmshm_fail_errno(e, dir, "PATH", "looking at the directory");
    }
    p->page = HUGETLBFS_MAGIC == fs.f_type ? (uint64_t) fs.f_bsize
                                           : (uint64_t) sysconf(_SC_PAGESIZE);
    p->in_memory = HUGETLBFS_MAGIC == fs.f_type || TMPFS_MAGIC == fs.f_type;
    return VMSHM_OK;
}

static uint64_t power_of_two_above(uint64_t bytes)
{
    uint64_t power = 1;

    while (power < bytes && power <= UINT64_MAX / 4) {
        power <<= 1;
    }
    return power;
}

static int plan_open(const struct ctl_command *self, const struct plan *p, uint64_t length,
                     uint64_t heap, uint64_t *open_offset)
{
    const uint64_t align = p->page > VMSHM_GRANULE_BYTES ? p->page : VMSHM_GRANULE_BYTES;
    const size_t n = NULL == p->open ? 0 : strlen(p->open);
    uint64_t open = 0;
    char number[16];
    uint32_t percent;

    if (0 == n) {
        *open_offset = length;
        return CTL_OK;
    }
    if ('%' == p->open[n - 1] && n <= sizeof number) {
        snprintf(number, n, "%s", p->open);
        if (!ctl_parse_u32(number, &percent) || percent > 100) {
            return ctl_usage_error(self, "--open", NULL, "'%s' is not 0%% .. 100%%", p->open);
        }
        open = (length - heap) / 100 * percent;
    } else if (!ctl_parse_size(p->open, &open) || open > length - heap) {
        return ctl_usage_error(self, "--open", "Give a share such as 25%, or a smaller size.",
                               "'%s' is not a part of a section's %" PRIu64 " bytes of heap",
                               p->open, length - heap);
    }
    *open_offset = (length - open) & ~(align - 1);
    if (*open_offset < heap + VMSHM_ALIGN_BYTES) {
        return ctl_usage_error(self, "--open", "Give a smaller share or size.", "'%s' leaves less than 2M of a section "
                               "of %" PRIu64 " bytes for what peers only read, without which nobody can join",
                               p->open, length);
    }
    return CTL_OK;
}

/* Sections behind each other, each on whole pages, each with room for its tables and more. */
static int plan_sections(const struct ctl_command *self, struct plan *p)
{
    const uint64_t align = p->page > VMSHM_ALIGN_BYTES ? p->page : VMSHM_ALIGN_BYTES;
    struct vmshm_header *h = &p->header;
    const uint64_t first = vmshm_align_up(VMSHM_HEADER_BYTES, align);
    const uint64_t heap = vmshm_heap_offset(h);
    const uint64_t least = vmshm_align_up(heap + VMSHM_GRANULE_BYTES, align);
    uint64_t named = 0, at = first, share = 0;
    uint32_t unnamed = 0;
    char a[32], b[32];

    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        if (0 == p->section[vm]) {
            p->section[vm] = p->section_all;
        }
        if (p->section[vm] > UINT64_MAX / 256) {
            return ctl_usage_error(self, "--section", NULL, "VM %u: no memory is that large", vm);
        }
        if (0 != p->section[vm] % align) {
            return ctl_usage_error(self, "--section", NULL, "VM %u: %" PRIu64 " bytes are not a "
                                   "multiple of %s (sections lie on whole pages of this file "
                                   "system, 2M at least)", vm, p->section[vm],
                                   ctl_size_text(align, a));
        }
        named += p->section[vm];
        unnamed += 0 == p->section[vm];
    }
    if (0 == p->total) {
        p->total = unnamed > 0 ? DEFAULT_BYTES : first + named;
        if (0 == unnamed && !p->any_size) {
            p->total = power_of_two_above(p->total);
        }
    }
    if (!p->any_size && 0 != (p->total & (p->total - 1))) {
        ctl_size_text(power_of_two_above(p->total) / 2, a);
        ctl_size_text(power_of_two_above(p->total), b);
        fprintf(stderr, "vmshmctl: create: --size: %" PRIu64 " bytes are not a power of two, and "
                "QEMU refuses such a PCI memory bar\n"
                "  Give --size %s or --size %s; or --any-size if no QEMU will attach it "
                "(containers, User-Mode Linux).\n", p->total, a, b);
        return CTL_USAGE;
    }
    if (0 != p->total % p->page || p->total > INT64_MAX) {
        return ctl_usage_error(self, "--size", NULL, "%" PRIu64 " bytes are not a multiple of the "
                               "file system's page of %s", p->total, ctl_size_text(p->page, a));
    }
    if (unnamed > 0 && p->total > first + named) {
        share = (p->total - first - named) / unnamed & ~(align - 1);
    }
    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        struct vmshm_section_entry *entry = &p->entry[vm];
        int status;

        entry->vm_id = vm;
        entry->numa_node = VMSHM_NO_NUMA;
        entry->offset = at;
        entry->length = 0 != p->section[vm] ? p->section[vm] : share;
        at += entry->length;
        if (entry->length < least || at > p->total) {
            ctl_size_text(entry->length, a);
            return ctl_usage_error(self, "--size", "Raise --size, or lower --vms, --procs, "
                                   "--windows or the sections' sizes.", "VM %u gets %s of %"
                                   PRIu64 " bytes; its tables alone need %s", vm, a, p->total,
                                   ctl_size_text(least, b));
        }
        status = plan_open(self, p, entry->length, heap, &entry->open_offset);
        if (CTL_OK != status) {
            return status;
        }
    }
    return CTL_OK;
}

/* The host's machine id; zeros if it has none. */
static void node_uuid(uint8_t uuid[16])
{
    FILE *f = fopen("/etc/machine-id", "re");
    unsigned byte;

    memset(uuid, 0, 16);
    for (int i = 0; NULL != f && i < 16 && 1 == fscanf(f, "%2x", &byte); ++i) {
        uuid[i] = (uint8_t) byte;
    }
    if (NULL != f) {
        fclose(f);
    }
}

static int plan_header(struct plan *p, struct vmshm_error *e)
{
    struct vmshm_header *h = &p->header;

    h->magic = VMSHM_MAGIC;
    h->version = VMSHM_FORMAT_VERSION;
    h->checked_bytes = VMSHM_CHECKED_BYTES;
    h->total_bytes = p->total;
    h->page_bytes = p->page;
    h->created_sec = (uint64_t) time(NULL);
    node_uuid(h->node_uuid);
    if (sizeof h->segment_uuid != getrandom(h->segment_uuid, sizeof h->segment_uuid, 0)) {
        return vmshm_fail_errno(e, p->path, "segment_uuid", "getrandom");
    }
    h->segment_uuid[6] = (h->segment_uuid[6] & 0x0f) | 0x40;   /* RFC 9562: version 4, random */
    h->segment_uuid[8] = (h->segment_uuid[8] & 0x3f) | 0x80;
    return VMSHM_OK;
}

/* ----------------------------------------------------------------------------------- the file */

static int set_access(const struct plan *p, int fd, const char *path, struct vmshm_error *e)
{
    const char *name = NULL != p->group ? p->group : "vmshm";
    const struct group *group = getgrnam(name);

    if (NULL == group && NULL != p->group) {
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, path, "--group", "there is no group '%s'", name);
    }
    /* The default group is a convenience: without it, or without the right to give files to it,
     * the file stays with its maker's group. */
    if (NULL != group && 0 != fchown(fd, (uid_t) -1, group->gr_gid) && NULL != p->group) {
        return vmshm_fail_errno(e, path, "--group", "giving the file to the group");
    }
    if (0 != fchmod(fd, p->mode)) {
        return vmshm_fail_errno(e, path, "--mode", "chmod");
    }
    return VMSHM_OK;
}

static uint64_t memory_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib = UINT64_MAX >> 10;

    while (NULL != f && NULL != fgets(line, sizeof line, f)
           && 1 != sscanf(line, "MemAvailable: %" SCNu64, &kib)) {
    }
    if (NULL != f) {
        fclose(f);
    }
    return kib << 10;
}

static int no_room(const char *path, uint64_t wanted, uint64_t there, const char *what,
                   struct vmshm_error *e)
{
    return vmshm_fail(e, VMSHM_ERR_FULL, path, "--size", "the segment needs %" PRIu64 " bytes, %s "
                      "has %" PRIu64 " left", wanted, what, there);
}

/* Take all memory now: later, a page that cannot be had kills whoever touches it. */
static int allocate(const struct plan *p, int fd, const char *path, struct vmshm_error *e)
{
    struct statvfs fs;
    struct stat st;
    uint64_t held, wanted, room;

    if (p->sparse) {
        return VMSHM_OK;
    }
    if (0 != fstat(fd, &st) || 0 != fstatvfs(fd, &fs)) {
        return vmshm_fail_errno(e, path, "--size", "looking at the file system");
    }
    held = (uint64_t) st.st_blocks * 512;
    wanted = p->total > held ? p->total - held : 0;
    /* A tmpfs mounted without a limit says it has no blocks at all. */
    room = 0 == fs.f_blocks ? UINT64_MAX : (uint64_t) fs.f_bavail * fs.f_frsize;
    if (wanted > room) {
        return no_room(path, wanted, room, "its file system", e);
    }
    if (p->in_memory && p->page <= 4096 && wanted > memory_available()) {
        return no_room(path, wanted, memory_available(), "the host's memory", e);
    }
    if (0 != fallocate(fd, 0, 0, (off_t) p->total)) {
        if (ENOSPC == errno && UINT64_MAX == room) {
            return vmshm_fail(e, VMSHM_ERR_FULL, path, "--size", "the segment needs %" PRIu64
                              " bytes, its file system finds no %" PRIu64 " pages of %" PRIu64
                              " bytes", wanted, wanted / p->page, p->page);
        }
        if (ENOSPC == errno) {
            return no_room(path, wanted, room, "its file system", e);
        }
        return vmshm_fail_errno(e, path, "--size", "allocating the memory (fallocate)");
    }
    return VMSHM_OK;
}

/* Everything behind the checked part of the header is zero already. Magic comes last, so that who
 * looks at the file in the meantime sees no segment rather than half of one. */
static void write_header(const struct plan *p, uint8_t *base)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES] = { 0 };
    struct vmshm_header h = p->header;

    memcpy(image, &h, sizeof h);
    memcpy(image + VMSHM_TABLE_OFFSET, p->entry, h.vms * sizeof p->entry[0]);
    h.checksum = vmshm_header_checksum(image);
    memcpy(image, &h, sizeof h);
    memcpy(base + sizeof h.magic, image + sizeof h.magic, sizeof image - sizeof h.magic);
    __atomic_store_n((uint64_t *) base, h.magic, __ATOMIC_RELEASE);
}

/* fd is empty or all holes; its size is set. */
static int fill(struct plan *p, int fd, const char *path, struct vmshm_error *e)
{
    uint8_t *base = mmap(NULL, p->total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    int rc = VMSHM_OK;

    if (MAP_FAILED == base) {
        return vmshm_fail_errno(e, path, "--size", "mmap of the segment");
    }
    for (uint32_t vm = 0; vm < p->header.vms && VMSHM_OK == rc; ++vm) {
        struct vmshm_section_entry *entry = &p->entry[vm];

        entry->numa_node = p->numa[vm];
        if (NUMA_AUTO == p->numa[vm]) {
            rc = ctl_numa_nth(vm, &entry->numa_node, e);
        }
        if (VMSHM_OK == rc && VMSHM_NO_NUMA != entry->numa_node) {
            rc = ctl_numa_bind(base + entry->offset, entry->length, entry->numa_node, path, e);
        }
    }
    if (VMSHM_OK == rc) {
        rc = allocate(p, fd, path, e);
    }
    if (VMSHM_OK == rc) {
        write_header(p, base);
    }
    munmap(base, p->total);
    return rc;
}

static int create_new(struct plan *p, struct vmshm_error *e)
{
    char temporary[512];
    int fd, rc;

    if ((size_t) snprintf(temporary, sizeof temporary, "%s.new-XXXXXX", p->path)
        >= sizeof temporary) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, p->path, "PATH", "the path is too long");
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return vmshm_fail_errno(e, p->path, "PATH", "making a file in its directory");
    }
    if (0 != ftruncate(fd, (off_t) p->total)) {
        rc = vmshm_fail_errno(e, p->path, "--size", "ftruncate");
    } else {
        rc = fill(p, fd, p->path, e);
    }
    if (VMSHM_OK == rc) {
        rc = set_access(p, fd, p->path, e);
    }
    if (VMSHM_OK == rc
        && 0 != renameat2(AT_FDCWD, temporary, AT_FDCWD, p->path, RENAME_NOREPLACE)) {
        rc = vmshm_fail_errno(e, p->path, "PATH", "giving the finished file its name");
    }
    if (VMSHM_OK != rc) {
        unlink(temporary);
    }
    close(fd);
    return rc;
}

/* What stands at the path already: nothing to lose, a segment, or something foreign? */
enum content { CONTENT_ZERO, CONTENT_SEGMENT, CONTENT_FOREIGN };

static enum content content_of(int fd)
{
    uint8_t image[VMSHM_CHECKED_BYTES] = { 0 };
    static const uint8_t zero[sizeof image];
    uint64_t magic;

    if (pread(fd, image, sizeof image, 0) < 0) {
        return CONTENT_FOREIGN;
    }
    memcpy(&magic, image, sizeof magic);
    return 0 == memcmp(image, zero, sizeof image) ? CONTENT_ZERO
           : VMSHM_MAGIC == magic ? CONTENT_SEGMENT : CONTENT_FOREIGN;
}

static uint32_t beating_vm(const char *path)
{
    struct vmshm_segment s;
    struct vmshm_error ignored;
    uint32_t vm = CTL_VM_UNSET;

    if (VMSHM_OK == vmshm_segment_open(path, &s, &ignored)) {
        vm = ctl_watch(&s, CTL_VM_UNSET);
        vmshm_segment_close(&s);
    }
    return vm;
}

static int create_in_place(struct plan *p, int fd)
{
    struct vmshm_error e;
    const enum content content = content_of(fd);
    struct stat st;
    uint32_t vm;

    if (0 != fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "it is not a regular file");
        return ctl_fail(&e, "Name a file on tmpfs or hugetlbfs; the segment is made on the host, "
                        "guests only attach it.");
    }
    if (CONTENT_FOREIGN == content) {
        vmshm_fail(&e, VMSHM_ERR_MAGIC, p->path, "PATH", "the file holds something that is not a "
                   "vmshm segment");
        return ctl_fail(&e, "Nothing was changed. Choose another path, or remove the file yourself "
                        "if nobody needs it.");
    }
    vm = CONTENT_SEGMENT == content ? beating_vm(p->path) : CTL_VM_UNSET;
    /* QEMU makes a missing file by itself, full of zeros: that one is ours to fill. */
    if (!p->force && (CONTENT_SEGMENT == content || !p->in_memory)) {
        if (CTL_VM_UNSET != vm) {
            vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "a segment is there and VM %u runs "
                       "jobs in it", vm);
            ctl_fail(&e, "Wait until the jobs have ended; --force breaks them.");
            return CTL_IN_USE;
        }
        vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "%s", CONTENT_SEGMENT == content
                   ? "a segment is there already; no heartbeat moves in it"
                   : "a file is there already");
        ctl_fail(&e, "Use --force to make it anew in place (VMs that have it attached keep it), "
                 "or `vmshmctl destroy` first.");
        return CTL_IN_USE;
    }
    if ((uint64_t) st.st_size != p->total) {
        vmshm_fail(&e, VMSHM_ERR_SHORT, p->path, "--size", "the file has %" PRIu64 " bytes, the "
                   "new segment %" PRIu64 ": a VM that has it attached cannot follow a new size",
                   (uint64_t) st.st_size, p->total);
        return ctl_fail(&e, "Give the same --size; or switch off the VMs, `vmshmctl destroy` it, "
                        "create it, and attach it again.");
    }
    if (CTL_VM_UNSET != vm) {
        fprintf(stderr, "vmshmctl: %s: VM %u is running jobs in it; they break now (--force)\n",
                p->path, vm);
    }
    /* Header and tables go with everything that jobs left behind; the inode stays. */
    if (0 != fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size)) {
        vmshm_fail_errno(&e, p->path, "PATH", "clearing the file (fallocate, punch hole)");
        return ctl_fail(&e, "Use a file on tmpfs or hugetlbfs.");
    }
    if (VMSHM_OK != fill(p, fd, p->path, &e) || VMSHM_OK != set_access(p, fd, p->path, &e)) {
        return ctl_fail(&e, NULL);
    }
    return CTL_OK;
}

static int create(const struct ctl_command *self, int argc, char **argv)
{
    struct plan p = { 0 };
    struct vmshm_error e;
    int status = parse(self, argc, argv, &p);
    int fd;

    if (CTL_OK != status || NULL == p.path) {
        return status;
    }
    if (VMSHM_OK != find_page(&p, &e)) {
        return ctl_fail(&e, VMSHM_ERR_ABSENT == e.code
                        ? "Make the directory first; /dev/shm or a hugetlbfs mount is the place."
                        : NULL);
    }
    status = plan_sections(self, &p);
    if (CTL_OK != status) {
        return status;
    }
    if (VMSHM_OK != plan_header(&p, &e)) {
        return ctl_fail(&e, NULL);
    }
    fd = open(p.path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        status = create_in_place(&p, fd);
        close(fd);
    } else if (ENOENT != errno) {
        vmshm_fail_errno(&e, p.path, "PATH", "open");
        return ctl_fail(&e, NULL);
    } else if (VMSHM_OK != create_new(&p, &e)) {
        return ctl_fail(&e, VMSHM_ERR_FULL == e.code
                        ? "Make the segment smaller, free or add memory (a tmpfs grows with "
                          "`mount -o remount,size=...`, hugetlbfs with vm.nr_hugepages), or give "
                          "--sparse: then a full file system later kills processes with SIGBUS."
                        : VMSHM_ERR_SYSTEM == e.code ? "Nothing was created." : NULL);
    }
    return status;
}

const struct ctl_command ctl_create = {
    "create", "make a segment",
    "create [OPTIONS] PATH\n"
    "Make a segment: a file on tmpfs (/dev/shm) or hugetlbfs that VMs attach.\n\n"
    "  --vms N              sections, VM ids 0 .. N-1 (2)\n"
    "  --size SIZE          of the whole, a power of two (1G)\n"
    "  --section-size SIZE  of every section; without --size the whole follows from it\n"
    "  --section VM:SIZE    of one section; the others share the rest equally\n"
    "  --open PERCENT%|SIZE part of each section that peers may write (none)\n"
    "  --procs N            processes per VM (256)\n"
    "  --windows N          windows per VM, a multiple of 64 (1024)\n"
    "  --numa VM:NODE       bind a section's memory to a host NUMA node; repeat per VM\n"
    "  --numa auto          spread the sections over the host's NUMA nodes in order\n"
    "  --mode MODE          permissions of the file (0660)\n"
    "  --group GROUP        group of the file (vmshm, if there is one)\n"
    "  --sparse             do not take the memory now\n"
    "  --any-size           not a power of two: containers and User-Mode Linux only\n"
    "  --force              make an existing segment anew, in place and of the same size\n"
    "SIZE is in bytes or with K, M, G, T (binary).\n",
    create
};
