/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Joining a section: who may write its tables.
 *
 * Mirrors section_take, slot_take and join in opal/mca/common/vmshm/vmshm_member.c, bury and reap_locked in
 * vmshm_reap.c, with vmshm_states.h: procs_print, section_claim, proc_set_live, proc_set_ended.
 *
 * Two processes join, under different arbiters: two VMs (or containers) that were given one id,
 * with no mutex in common. They must not both come to believe that they joined.
 *   -DREBOOT     the first one dies at any step, then the second one comes (the VM's next boot): it
 *                must be able to join, whatever the first one left half done
 *   -DSUCCESSOR  the same, and the second one is of the same boot: same arbiter, other process
 *
 * Bounds: two processes, two process slots. A third VM of the same id is not shown. It is
 * assumed, not shown, that a process that stands in a slot and runs beats, or fails to join,
 * within the 1.5 s for which the other one watches.
 */
#define ARBITER 0
#define EPOCH 1                         /* with the magic: the section was set up by this boot */
#define SLOTS 2
#define STATE(slot) (2 + 2 * (slot))
#define NONCE(slot) (3 + 2 * (slot))
#define WORDS (2 + 2 * SLOTS)
#define WRITERS 2
#define DEPTH 6
#include "memory.pml"

#define FREE 0
#define LIVE 1
#define LEFT 2
#define DEAD 3

#if defined(REBOOT) || defined(SUCCESSOR)
#define IN_TURN
#endif
#ifdef SUCCESSOR
#define MINE(me) 1
#else
#define MINE(me) ((me) + 1)
#endif

bool joined[2], ended[2];
bool dead;                              /* the first one, with IN_TURN */
byte mortal;
byte slot_of[2];

/* procs_print: tells one set of live processes from another. */
inline print_live(print)
{
    print = 0;
    load(me, STATE(0), state);
    load(me, NONCE(0), nonce);
    print = print + (state == LIVE -> nonce : 0);
    load(me, STATE(1), state);
    load(me, NONCE(1), nonce);
    print = print + (state == LIVE -> nonce : 0);
    state = 0;
    nonce = 0
}

inline bury_live(slot)
{
    load(me, STATE(slot), state);
    if
    :: state == LIVE -> store(me, STATE(slot), DEAD, RELEASE)
    :: else
    fi
}

proctype process(byte me) provided (!dead || _pid != mortal)
{
    byte before, live, again, state, nonce, slot, arbiter;
    bool mine_before;

#ifdef IN_TURN
    me == 0 || dead;
#endif
    /* section_take */
    load(me, ARBITER, before);
    load(me, EPOCH, state);
    mine_before = before == MINE(me) && state == MINE(me);
    state = 0;
    if
    :: mine_before
    :: else ->
        print_live(live);
        /* somebody_beats */
        if
        :: live == 0
        :: live != 0 && joined[1 - me] && !dead -> goto fail
        :: live != 0 && (dead || (ended[1 - me] && !joined[1 - me]))
        fi;
#ifdef NO_TAKE_FENCE                    /* the second look goes ahead of the exchange */
        print_live(again);
#endif
        /* The exchange itself: what was stored before it is seen before it. */
        atomic {
            fence(me) ->
            if
            :: memory[ARBITER] == before -> memory[ARBITER] = MINE(me)
            :: else -> goto fail
            fi
        }
#if !defined(NO_TAKE_FENCE) && !defined(NO_SECOND_LOOK)
        print_live(again);
#endif
#ifdef NO_SECOND_LOOK
        again = live;
#endif
        if
        :: live != again ->
            atomic {
                if
#ifdef GIVE_BACK_ALWAYS
                :: memory[ARBITER] = before
#else
                :: memory[ARBITER] == MINE(me) -> memory[ARBITER] = before
                :: else
#endif
                fi
            }
            goto fail
        :: else
        fi;
        bury_live(0);
        bury_live(1);
        store(me, EPOCH, MINE(me), RELEASE)
    fi;
    live = 0;
    again = 0;
    before = 0;
    state = 0;
    /* reap_locked: in turn the lock file's answer is that the first one is no more. */
#ifdef SUCCESSOR
    if
    :: me == 1 -> bury_live(0); bury_live(1)
    :: else
    fi;
#endif
    /* slot_take: any slot that is not live. Claims are made in the own lock file. */
    load(me, STATE(0), state);
    if
    :: state != LIVE -> slot = 0
    :: true ->
        load(me, STATE(1), state);
        if
        :: state != LIVE -> slot = 1
        :: else -> goto fail
        fi
    fi;
    state = 0;
    store(me, NONCE(slot), me + 1, RELAXED);
    store(me, STATE(slot), LIVE, RELEASE);
#ifndef NO_SLOT_FENCE
    fence(me);
#endif
#ifndef NO_ARBITER_CHECK
    load(me, ARBITER, arbiter);
    if
    :: arbiter != MINE(me) ->
        store(me, STATE(slot), LEFT, RELEASE);
        goto fail
    :: else
    fi;
#endif
    slot_of[me] = slot;
    joined[me] = true;
    /* From its first beat on it is seen. */
    assert(!(joined[0] && joined[1]) || dead);
fail:
    ended[me] = true
}

#ifdef IN_TURN
/* What it stored before it died is seen, or any part of it. */
active proctype death()
{
    d_step {
        dead = true;
        do
        :: buffer[0].count > 0 -> drop(0, 0)
        :: else -> break
        od
    }
}
#endif

active proctype watch()
{
end:
    timeout ->
#ifdef IN_TURN
    assert(joined[1]);
#else
    assert(ended[0] && ended[1]);
#ifdef WINNER_KEEPS_ITS_SLOT
    assert(!joined[0] || (memory[STATE(slot_of[0])] == LIVE && memory[NONCE(slot_of[0])] == 1));
    assert(!joined[1] || (memory[STATE(slot_of[1])] == LIVE && memory[NONCE(slot_of[1])] == 2));
#endif
#endif
    skip
}

init
{
    atomic {
        run store_buffers(0);
        run store_buffers(1);
        mortal = run process(0);
        run process(1)
    }
}
