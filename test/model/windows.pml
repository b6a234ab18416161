/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows that are handed out, let go and handed out again, against a reader in another VM.
 *
 * Mirrors, in opal/mca/common/vmshm/: window_alloc, window_release (vmshm_window.c); window_collect,
 * take_out_read (vmshm_quarantine.c); enter, reader_leave (vmshm_check.c); bury, reap (vmshm_reap.c); with the
 * loads and stores of vmshm_states.h.
 *
 * The owner's VM is one process here: the mutex of its lock file orders all that its processes do
 * when they hand out and collect. ROUNDS times it hands out the first free entry at the first free place
 * and lets one go, or not.
 *   -DANOTHER    another process of the VM has the windows, writes there, and lets them go when it likes,
 *                without the mutex; who collects sees that some time later.
 * The reader enters window 0 whenever it likes, looks, leaves, and comes again,
 * VISITS times. From entering to leaving it must find in the memory of the window what belongs to
 * the very window it entered, or zeros. The reader may die at any step; then every window comes
 * back in the end.
 *
 * Bounds: two entries, two places of memory, one reader. The rules concern one entry and one bit;
 * two of each are enough for an entry that moves to other memory and for memory that moves to
 * another entry, which takes three rounds. That a row of bits has many words, or that find_gap
 * finds a gap, is not shown.
 */
#ifndef ROUNDS
#define ROUNDS 3
#endif
#ifndef VISITS
#define VISITS 2
#endif
#define ENTRIES 2
#define PLACES 2

/* An entry is three words: state, generation (here: a number that no other window had), place. */
#define STATE(i) (3 * (i))
#define NUMBER(i) (3 * (i) + 1)
#define PLACE(i) (3 * (i) + 2)
#define HEAP(p) (3 * ENTRIES + (p))
#define BIT (3 * ENTRIES + PLACES)      /* the reader reads window 0 */
#define READER (BIT + 1)                /* its process slot */
#define WORDS (READER + 1)
#define WRITERS 3
#define DEPTH 6
#include "memory.pml"

#define EMPTY 0
#define LIVE 1
#define QUARANTINE 2
#define DEAD 3

#define OWNER_BUFFER 0
#define READER_BUFFER 1
#define ANOTHER_BUFFER 2

#ifdef NO_LIVE_RELEASE
#define LIVE_ORDER RELAXED
#else
#define LIVE_ORDER RELEASE
#endif

bool reader_alive = true, buried, owner_done;

/* What the owner itself wrote, in its own order. */
byte own[3 * ENTRIES];

inline owner_store(where, what, order)
{
    own[where] = what;
    store(OWNER_BUFFER, where, what, order)
}

/* window_collect */
inline collect(i)
{
    if
    :: own[STATE(i)] == QUARANTINE ->
#ifdef NO_BIT_ACQUIRE                   /* the next owner's zeros go ahead of the load of the bit */
        if
        :: i == 0 ->
            store(OWNER_BUFFER, HEAP(own[PLACE(0)]), round, RELAXED);
            memory[BIT] == 0
        :: true
        fi;
#endif
#ifdef NO_QUARANTINE
        reads = false;
#else
        reads = memory[READER] == LIVE;
        reads = reads && i == 0 && memory[BIT] == 1;
#endif
        if
        :: !reads -> owner_store(STATE(i), EMPTY, RELEASE)
        :: else
        fi;
        reads = false
    :: else
    fi
}

#ifdef RELAXED_RELEASE
#define GO_ORDER RELAXED
#else
#define GO_ORDER RELEASE
#endif

/* quarantined: the other process's store is seen, or not yet. */
inline see(i)
{
    load(OWNER_BUFFER, STATE(i), entry);
    if
    :: own[STATE(i)] == LIVE && entry == QUARANTINE -> own[STATE(i)] = QUARANTINE
    :: else
    fi;
    entry = 0
}

#define TAKEN(p) ((own[STATE(0)] != EMPTY && own[PLACE(0)] == p) \
                  || (own[STATE(1)] != EMPTY && own[PLACE(1)] == p))

proctype owner()
{
    byte round, entry, place;
    bool reads;

    do
    :: round < ROUNDS ->
        round++;
#if defined(ANOTHER) && !defined(SEE_AFTER_BITS)
        atomic { see(0); see(1) };
#endif
#ifndef NO_OWNER_FENCE
        fence(OWNER_BUFFER);
#endif
#ifdef SEE_AFTER_BITS                   /* the look at the bit goes ahead of that at the state */
        reads = memory[BIT] == 1;
        see(0);
        see(1);
        if
        :: own[STATE(0)] == QUARANTINE && !reads -> owner_store(STATE(0), EMPTY, RELEASE)
        :: else
        fi;
        reads = false;
#else
        collect(0);
#endif
        collect(1);
        atomic {
        if
        :: own[STATE(0)] == EMPTY -> entry = 0
        :: own[STATE(1)] == EMPTY -> entry = 1
        :: own[STATE(0)] != EMPTY && own[STATE(1)] != EMPTY -> entry = ENTRIES
        fi;
        if
        :: !TAKEN(0) -> place = 0
        :: !TAKEN(1) -> place = 1
        :: TAKEN(0) && TAKEN(1) -> place = PLACES
        fi;
        if
        :: entry < ENTRIES && place < PLACES ->
            owner_store(NUMBER(entry), round, RELAXED);
            owner_store(PLACE(entry), place, RELAXED);
#ifndef NO_ZEROS
            store(OWNER_BUFFER, HEAP(place), 0, RELAXED);
#endif
            owner_store(STATE(entry), LIVE, LIVE_ORDER)
#ifndef ANOTHER
            ; store(OWNER_BUFFER, HEAP(place), round, RELAXED)
#endif
        :: else                         /* full: the caller is told so, nobody waits */
        fi;
        entry = 0;
        place = 0
#ifndef ANOTHER
        ;
        if
        :: own[STATE(0)] == LIVE -> owner_store(STATE(0), QUARANTINE, RELEASE)
        :: own[STATE(1)] == LIVE -> owner_store(STATE(1), QUARANTINE, RELEASE)
        :: true
        fi
#endif
        }
    :: else -> break
    od;
#ifdef ANOTHER
    fence(OWNER_BUFFER);
    (memory[STATE(0)] != LIVE && memory[STATE(1)] != LIVE);
    atomic { see(0); see(1) };
#endif
    /* The owner ends: all its windows are let go, and come back when nobody reads them. */
    if
    :: own[STATE(0)] == LIVE -> owner_store(STATE(0), QUARANTINE, RELEASE)
    :: else
    fi;
    if
    :: own[STATE(1)] == LIVE -> owner_store(STATE(1), QUARANTINE, RELEASE)
    :: else
    fi;
    (buried || memory[READER] == DEAD);
    fence(OWNER_BUFFER);
    collect(0);
    collect(1);
    assert(own[STATE(0)] == EMPTY && own[STATE(1)] == EMPTY);
    owner_done = true
}

#ifdef ANOTHER
proctype another()
{
    byte number, place, gone[ENTRIES], i;

end:
    do
    :: memory[STATE(0)] == LIVE && gone[0] != memory[NUMBER(0)] -> i = 0; goto let_go
    :: memory[STATE(1)] == LIVE && gone[1] != memory[NUMBER(1)] -> i = 1; goto let_go
    od;
let_go:
    number = memory[NUMBER(i)];
    place = memory[PLACE(i)];
    store(ANOTHER_BUFFER, HEAP(place), number, RELAXED);
    store(ANOTHER_BUFFER, STATE(i), QUARANTINE, GO_ORDER);
    gone[i] = number;
    number = 0;
    place = 0;
    i = 0;
    goto end
}
#endif

/* One look into the window: nobody else's data. */
inline look()
{
    d_step { assert(memory[HEAP(place)] == 0 || memory[HEAP(place)] == number) }
}

proctype reader() provided (reader_alive)
{
    byte visits, state, number, place;

#ifndef LIVE_AFTER_BIT
    store(READER_BUFFER, READER, LIVE, RELEASE);
#endif
    do
    :: visits < VISITS ->
        visits++;
        /* reader_enter. The bit is an atomic or, with release: its store may still wait. */
        store(READER_BUFFER, BIT, 1, RELEASE);
#ifndef NO_READER_FENCE
        fence(READER_BUFFER);
#endif
#ifdef LIVE_AFTER_BIT
        store(READER_BUFFER, READER, LIVE, RELEASE);
#endif
#ifdef ENTRY_BEFORE_STATE
        number = memory[NUMBER(0)];
        place = memory[PLACE(0)];
        state = memory[STATE(0)];
#else
        state = memory[STATE(0)];       /* acquire: the entry as it was then */
        number = memory[NUMBER(0)];
        place = memory[PLACE(0)];
#endif
        if
        :: state == LIVE ->
            look();
#ifdef NO_LEAVE_RELEASE                 /* the bit goes before the last load */
            store(READER_BUFFER, BIT, 0, RELAXED);
            look()
#else
            look();
            store(READER_BUFFER, BIT, 0, RELEASE)
#endif
        :: else -> store(READER_BUFFER, BIT, 0, RELEASE)
        fi;
        state = 0;
        number = 0;
        place = 0
    :: true -> break
    od;
    store(READER_BUFFER, READER, DEAD, RELEASE)
}

/* The reader may die at any step. A process of its VM finds that the kernel has let go of its lock,
 * and buries it: the bits, then the state. */
active proctype death()
{
end:
#ifndef BURIED_ALIVE
    reader_alive = false;
#endif
    fence(READER_BUFFER);
    store(READER_BUFFER, BIT, 0, RELAXED);
    store(READER_BUFFER, READER, DEAD, RELEASE);
    fence(READER_BUFFER);
    buried = true
}

active proctype watch()
{
end:
    timeout -> assert(owner_done)
}

init
{
    atomic {
        run store_buffers(OWNER_BUFFER);
        run store_buffers(READER_BUFFER);
#ifdef ANOTHER
        run store_buffers(ANOTHER_BUFFER);
        run another();
#endif
        run owner();
        run reader()
    }
}
