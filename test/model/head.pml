/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a sender finds the head that counts its messages, when both the place in the receiver's table of
 * heads and the line of the head were used before, for processes that have left.
 *
 * Mirrors, in opal/mca/btl/vmshm/: ring_accept (btl_vmshm_listen.c), take_leave (btl_vmshm_attend.c),
 * mca_btl_vmshm_check_head (btl_vmshm_check.c), reclaim (btl_vmshm_open.c).
 *
 * Two processes have left, one of this slot and one of another; the line of the other's head is on the
 * stack of free lines, and this slot's place holds that very line (it was taken, given back and taken
 * again), or nothing. The receiver makes the head for the sender in it and enters it; then it consumes
 * one message. The sender may have loaded the place at any moment before. It must not take a count of
 * messages of others, nor of chunks, for one of its own: that would free what is still read.
 *
 * Bounds: one reuse, one message. The sender trusts nothing but what it reads in this order.
 */
#define PLACE 0                         /* in the table of heads: 1 where there is one */
#define FROM 1                          /* the head: whose messages it counts */
#define HEAD 2
#define CHUNKS 3
#define WORDS 4
#define WRITERS 1
#define DEPTH 6
#include "memory.pml"

#define BEFORE 1                        /* the nonce of the earlier process */
#define NOW 2
#define MANY 9                          /* what it counted */

#ifdef NO_FROM_RELEASE
#define FROM_ORDER RELAXED
#else
#define FROM_ORDER RELEASE
#endif

byte consumed;                          /* of the sender's messages, really */

proctype receiver()
{
    /* take_leave */
    store(0, PLACE, 0, RELEASE);
    /* ring_accept */
#ifdef FROM_EARLY                       /* whom it counts for, before the counts */
    store(0, FROM, NOW, FROM_ORDER);
#endif
    store(0, HEAD, 0, RELAXED);
#ifndef CHUNKS_STAY
    store(0, CHUNKS, 0, RELAXED);
#endif
#ifndef FROM_EARLY
    store(0, FROM, NOW, FROM_ORDER);
#endif
    store(0, PLACE, 1, RELEASE);
    consumed = 1;
    store(0, HEAD, 1, RELEASE)
}

proctype sender()
{
    byte place, from;
#ifdef NO_FROM_ACQUIRE
    byte head;
#endif

    do
    :: place = memory[PLACE];
        if
        :: place == 1 ->
#ifdef NO_FROM_ACQUIRE                  /* the count is loaded before whom it is for */
            head = memory[HEAD];
#endif
            from = memory[FROM];
#ifdef NO_FROM_CHECK
            break
#else
            if
            :: from == NOW -> break
            :: else
            fi
#endif
        :: else
        fi
    od;
#ifdef NO_FROM_ACQUIRE
    assert(head <= consumed);
#endif
    assert(memory[HEAD] <= consumed);
    assert(memory[CHUNKS] == 0)
}

init
{
    atomic {
        if
        :: memory[PLACE] = 1
        :: memory[PLACE] = 0
        fi;
        memory[FROM] = BEFORE;
        memory[HEAD] = MANY;
        memory[CHUNKS] = MANY;
        run store_buffers(0);
        run receiver();
        run sender()
    }
}
