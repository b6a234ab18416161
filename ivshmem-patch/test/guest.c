/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest that uses a patched ivshmem device: no kernel, no firmware after the start,
 * one processor in 32-bit mode without paging, a serial port to report on.
 *
 * It stores to the shared memory with all kinds of instructions, inside its window (at 0x0 of it)
 * and outside (right before and after it), and says what it reads. The host looks into the file.
 * Then it waits for events, lets go of the memory when asked, and takes it again when it is given back
 * and after a move.
 *
 *     gcc -m32 -march=i686 -msse2 -O1 -ffreestanding -fno-pic -fno-stack-protector -nostdlib -static \
 *         -Wl,-Ttext-segment=0x100000,--build-id=none,-e,start -o guest guest.c
 *
 * QEMU starts it with -kernel, by the PVH note at its end.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
    INTR_STATUS = 0x04,
    MAGIC = 0x10,
    FEATURES = 0x18,
    VM_ID = 0x1c,
    SIZE = 0x20,
    WINDOW_OFFSET = 0x28,
    WINDOW_SIZE = 0x30,
    GENERATION = 0x38,
    STATE = 0x3c,
    DETACH_ACK = 0x80,
    REATTACH = 0x84,
};
enum { ATTACHED = 1, DETACH_REQUESTED = 2, IN_USE = 4 };

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port)
{
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static void put(const char *s)
{
    for (; *s; s++) {
        while (!(inb(0x3fd) & 0x20)) {
        }
        outb(0x3f8, *s);
    }
}

static void say(const char *name, u32 value)
{
    char text[12] = "=";
    int i;

    put(name);
    for (i = 0; i < 8; i++) {
        text[1 + i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15];
    }
    text[9] = '\n';
    text[10] = 0;
    put(text);
}

static u32 config_read(u32 slot, u32 reg)
{
    outl(0xcf8, 0x80000000u | slot << 11 | reg);
    return inl(0xcfc);
}

static void config_write(u32 slot, u32 reg, u32 value)
{
    outl(0xcf8, 0x80000000u | slot << 11 | reg);
    outl(0xcfc, value);
}

static volatile u8 *regs;
static u32 in(u32 reg) { return *(volatile u32 *)(regs + reg); }
static void out(u32 reg, u32 v) { *(volatile u32 *)(regs + reg) = v; }

/* KVM ends a guest that stores to read-only memory with an instruction it cannot emulate. */
static u32 kvm;

static void find_kvm(void)
{
    u32 a = 0x40000000, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    kvm = b == 0x4b4d564b;
}

/* 256 bytes, touched by one kind of store in each 16. The first of them hold 0x11 if all is new. */
static void store_all(volatile u8 *at)
{
    static const u8 pattern[16] __attribute__((aligned(16))) = "ABCDEFGHIJKLMNO";
    u32 a, c, d, s;

    at[0] = 0x22;
    *(volatile u16 *)(at + 0x10) = 0x2222;
    *(volatile u32 *)(at + 0x20) = 0x22222222;
    d = (u32)(at + 0x30), s = (u32)pattern, c = 16;
    __asm__ volatile("cld; rep movsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory");
    d = (u32)(at + 0x40), c = 4, a = 0x22222222;
    __asm__ volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(a) : "memory");
    a = 0x01010101;
    __asm__ volatile("lock xaddl %0, (%1)" : "+r"(a) : "r"(at + 0x50) : "memory");
    a = *(volatile u32 *)(at + 0x60);
    __asm__ volatile("lock cmpxchgl %2, (%1)" : "+a"(a) : "r"(at + 0x60), "r"(0x22222222) : "memory");
    a = *(volatile u32 *)(at + 0x70);
    d = *(volatile u32 *)(at + 0x74);
    __asm__ volatile("lock cmpxchg8b (%2)" : "+a"(a), "+d"(d) : "S"(at + 0x70), "b"(0x22), "c"(0x22)
                     : "memory");
    a = 0x22222222;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(a) : "r"(at + 0x80) : "memory");
    __asm__ volatile("lock incl (%0)" : : "r"(at + 0x90) : "memory");
    __asm__ volatile("lock btsl $1, (%0)" : : "r"(at + 0xa0) : "memory");
    __asm__ volatile("addl $0x10, (%0)" : : "r"(at + 0xb0) : "memory");
    __asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, (%1)" : : "r"(pattern), "r"(at + 0xc0)
                     : "memory");
    __asm__ volatile("movups (%0), %%xmm0; movntps %%xmm0, (%1)" : : "r"(pattern), "r"(at + 0xd0)
                     : "memory");
    if (!kvm) {
        __asm__ volatile("fld1; fstpl (%0)" : : "r"(at + 0xe0) : "memory");
    }
    /* a stack there */
    __asm__ volatile("movl %%esp, %%ecx; movl %0, %%esp; pushl $0x22; pushl $0x22; movl %%ecx, %%esp"
                     : : "r"(at + 0xf8) : "ecx", "memory");
}

static void run(void)
{
    u32 slot, bar0 = 0, bar2 = 0, size, offset, length, generation, state;
    volatile u8 *mem;

    for (slot = 0; slot < 32; slot++) {
        if (config_read(slot, 0) == 0x11101af4) {
            config_write(slot, 4, config_read(slot, 4) | 2);
            bar0 = config_read(slot, 0x10) & ~15u;
            bar2 = config_read(slot, 0x18) & ~15u;
            if (config_read(slot, 0x1c) != 0) {
                put("BAR 2 is above 4 GiB\n");
                return;
            }
            break;
        }
    }
    if (bar2 == 0) {
        put("no device\n");
        return;
    }
    find_kvm();
    regs = (volatile u8 *)bar0;
    mem = (volatile u8 *)bar2;
    say("magic", in(MAGIC));
    say("features", in(FEATURES));
    say("vm", in(VM_ID));
    say("size", size = in(SIZE));
    say("offset", offset = in(WINDOW_OFFSET));
    say("length", length = in(WINDOW_SIZE));
    say("state", in(STATE));
    say("first", *(volatile u32 *)mem);
    if (in(MAGIC) != 0x4d485356) {
        put("stores\n");
        store_all(mem);
        put("done\n");
        return;
    }
    put("stores\n");
    store_all(mem);
    store_all(mem + offset - 256);
    store_all(mem + offset);
    store_all(mem + offset + length - 256);
    store_all(mem + offset + length);
    store_all(mem + size - 256);
    say("stored", *(volatile u32 *)(mem + offset));

    generation = in(GENERATION);
    say("generation", generation);
    for (;;) {
        state = in(STATE);
        if (state & DETACH_REQUESTED) {
            out(DETACH_ACK, in(GENERATION));
            say("let-go", in(STATE));
            say("absent", *(volatile u32 *)mem);
            mem[0] = 0x33;
        }
        if (in(GENERATION) != generation) {
            generation = in(GENERATION);
            say("events", in(INTR_STATUS));
            say("generation", generation);
            say("state", in(STATE));
            say("vm", in(VM_ID));
            if (in(STATE) == ATTACHED) {
                say("not-yet", *(volatile u32 *)mem);
                mem[0] = 0x44;
                out(REATTACH, generation);
                say("reattached", in(STATE));
            }
            say("first", *(volatile u32 *)mem);
        }
    }
}

static u8 stack[4096] __attribute__((aligned(16), used));

void start(void);
__asm__(".globl start\n"
        "start: movl $stack + 4096, %esp\n"
        "cli\n"
        "movl %cr0, %eax; andl $~4, %eax; orl $2, %eax; movl %eax, %cr0\n"
        "movl %cr4, %eax; orl $0x600, %eax; movl %eax, %cr4\n"
        "fninit\n"
        "call main_loop\n"
        "1: hlt; jmp 1b\n"
        ".pushsection .note.Xen, \"a\", @note\n"
        ".long 4, 4, 18\n" /* XEN_ELFNOTE_PHYS32_ENTRY */
        ".asciz \"Xen\"\n"
        ".long start\n"
        ".popsection\n");

void main_loop(void);
__attribute__((used)) void main_loop(void)
{
    run();
}
