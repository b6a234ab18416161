/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a receiver finds the ring that is for it, when both its place in the sender's table of
 * rings and the ring's memory were used before, for an earlier process of the same slot.
 *
 * Mirrors, in opal/mca/btl/vmshm/: make_ring, ring_open (btl_vmshm_open.c); make_endpoint
 * (btl_vmshm_endpoint.c; the registry, vmshm_registry.c of the common library, replaces the peer before); take_ring,
 * ring_accept, listen (btl_vmshm_listen.c), check_entry, check_ring (btl_vmshm_check.c).
 *
 * The process before has left; its ring stands in the table still, and its messages in the ring.
 * The sender empties the place, makes the ring anew in the very same memory (the stack of free
 * rings is last in, first out) and sends one message. The receiver may have loaded the place at
 * any moment before. It must find the new ring and take that message, and no other.
 *
 * Bounds: a ring of one slot, one message, one reuse. The receiver trusts nothing but what it
 * reads in this order, so a second reuse is the first one again.
 */
#define BELL 0
#define PLACE 1                         /* in the table of rings: 1 where there is one */
#define TO 2                            /* the ring's header: whom it is for */
#define WORD 3                          /* of its slot: 1 looks published at the first position */
#define BYTES 4
#define WORDS 5
#define WRITERS 1
#define DEPTH 6
#include "memory.pml"

#define BEFORE 1                        /* the nonce of the earlier process, and its message */
#define NOW 2

#ifdef NO_TO_RELEASE
#define TO_ORDER RELAXED
#else
#define TO_ORDER RELEASE
#endif
#ifdef NO_BELL_RELEASE
#define BELL_ORDER RELAXED
#else
#define BELL_ORDER RELEASE
#endif
#ifdef NO_PLACE_RELEASE
#define PLACE_ORDER RELAXED
#else
#define PLACE_ORDER RELEASE
#endif

bool taken;

proctype sender()
{
    store(0, PLACE, 0, RELEASE);
    /* make_ring */
    store(0, TO, 0, RELAXED);
#ifdef TO_EARLY                         /* the header is complete before the slots are */
    store(0, TO, NOW, TO_ORDER);
#endif
#ifndef NO_SLOT_INIT
    store(0, WORD, 0, RELAXED);
#endif
#ifndef TO_EARLY
    store(0, TO, NOW, TO_ORDER);
#endif
    /* ring_open: the place before the bell */
    store(0, PLACE, 1, PLACE_ORDER);
    store(0, BELL, 2, BELL_ORDER);
    /* the message */
    store(0, BYTES, NOW, RELAXED);
    store(0, WORD, 1, RELEASE)
}

proctype receiver()
{
    byte heard, place, to;
#ifdef NO_TO_ACQUIRE
    byte word;
#endif

    do
    :: memory[BELL] != heard && !taken ->
#ifdef REMEMBER_AFTER
        skip;
#else
        heard = memory[BELL];
#endif
        place = memory[PLACE];
        if
        :: place == 1 ->
#ifdef NO_TO_ACQUIRE                    /* the slot is loaded before the header */
            word = memory[WORD];
#endif
            to = memory[TO];
#ifndef NO_TO_CHECK
            if
            :: to == NOW -> taken = true
            :: else
            fi
#else
            taken = true
#endif
        :: else
        fi;
#ifdef REMEMBER_AFTER
        heard = memory[BELL]
#endif
    :: taken -> break
    od;
#ifdef NO_TO_ACQUIRE
    if
    :: word == 1
    :: memory[WORD] == 1
    fi;
#else
    memory[WORD] == 1;
#endif
    assert(memory[BYTES] == NOW)
}

/* Nobody can go on, but the receiver has not found the ring. */
active proctype watch()
{
end:
    timeout -> assert(taken)
}

init
{
    atomic {
        memory[BELL] = 1;
        memory[PLACE] = 1;
        memory[TO] = BEFORE;
        memory[WORD] = 1;
        memory[BYTES] = BEFORE;
        run store_buffers(0);
        run sender();
        run receiver()
    }
}
