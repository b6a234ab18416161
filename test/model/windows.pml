/*
 * Windows that are handed out, let go and handed out again, against a reader in another VM.
 *
 * Mirrors, in opal/mca/common/vmshm/: window_alloc, window_release, window_collect, is_read
 * (vmshm_window.c); reader_enter, reader_leave (vmshm_peer.c); bury, reap (vmshm_member.c).
 *
 * The owner's VM is one process here: the mutex of its lock file orders all that its processes do
 * to the tables. ROUNDS times it hands out the first free entry at the first free place and lets
 * one go, or not. The reader enters window 0 whenever it likes, looks, leaves, and comes again,
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
#define WRITERS 2
#define DEPTH 6
#include "memory.pml"

#define EMPTY 0
#define LIVE 1
#define QUARANTINE 2
#define DEAD 3

#define OWNER_BUFFER 0
#define READER_BUFFER 1

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

#define TAKEN(p) ((own[STATE(0)] != EMPTY && own[PLACE(0)] == p) \
                  || (own[STATE(1)] != EMPTY && own[PLACE(1)] == p))

proctype owner()
{
    byte round, entry, place;
    bool reads;

    do
    :: round < ROUNDS ->
        round++;
#ifndef NO_OWNER_FENCE
        fence(OWNER_BUFFER);
#endif
        collect(0);
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
            owner_store(STATE(entry), LIVE, LIVE_ORDER);
            store(OWNER_BUFFER, HEAP(place), round, RELAXED)
        :: else                         /* full: the caller is told so, nobody waits */
        fi;
        entry = 0;
        place = 0;
        if
        :: own[STATE(0)] == LIVE -> owner_store(STATE(0), QUARANTINE, RELEASE)
        :: own[STATE(1)] == LIVE -> owner_store(STATE(1), QUARANTINE, RELEASE)
        :: true
        fi
        }
    :: else -> break
    od;
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
        run owner();
        run reader()
    }
}
