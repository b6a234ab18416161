/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking for the dead: who leaves in order is not taken for dead.
 *
 * Mirrors is_dead and reap_locked in opal/mca/common/vmshm/vmshm_reap.c, slot_take and vmshm_leave in
 * vmshm_member.c.
 *
 * Two owners of one slot, one after the other. Each claims the slot's byte in the lock file, is live, and
 * leaves, or dies at any step: then the kernel takes its byte, and the mutex. Who joins and who looks has
 * the mutex, who leaves has not. Calls into the kernel are full fences.
 *
 * Bounds: one slot, two owners, two looks.
 */
#define STATE 0
#define WORDS 1
#define WRITERS 3
#define DEPTH 2
#include "memory.pml"

#define LOOKER 2
#define FREE 0
#define LIVE 1
#define LEFT 2
#define DEAD 3

bool claimed, mutex;
bool died;                              /* the last owner: it did not come to leave */
bool ended[2];

inline may_die()
{
    if
    :: skip
    :: goto die
    fi
}

proctype owner(byte me)
{
    byte state;
    bool mine;

    me == 0 || ended[0];
    atomic { !mutex -> mutex = true; mine = true }
    load(me, STATE, state);
    if
    :: state == LIVE -> store(me, STATE, DEAD, RELEASE)
    :: else
    fi;
    state = 0;
    atomic { fence(me) -> claimed = true; died = false }
    may_die();
    store(me, STATE, LIVE, RELEASE);
    may_die();
    atomic { fence(me) -> mutex = false; mine = false }
    may_die();
    store(me, STATE, LEFT, RELEASE);
#ifndef NO_LEAVE_FENCE                  /* the claim goes before the state is seen */
    atomic { fence(me) -> claimed = false }
#else
    claimed = false
#endif
    goto out;
die:
    atomic {
        fence(me) ->
        claimed = false;
        died = true;
        if
        :: mine -> mutex = false
        :: else
        fi
    }
out:
    ended[me] = true
}

proctype looker()
{
    byte state, looks;
    bool is_claimed;

    do
    :: looks < 2 ->
        atomic { !mutex -> mutex = true }
        load(LOOKER, STATE, state);
        is_claimed = claimed;
#ifndef STATE_FIRST                     /* the state is not looked at after the claim */
        load(LOOKER, STATE, state);
#endif
        if
        :: state == LIVE && !is_claimed ->
            assert(died);
            store(LOOKER, STATE, DEAD, RELEASE)
        :: else
        fi;
        atomic { fence(LOOKER) -> mutex = false }
        looks++
    :: else -> break
    od
}

init
{
    atomic {
        run store_buffers(0);
        run store_buffers(1);
        run store_buffers(2);
        run owner(0);
        run owner(1);
        run looker()
    }
}
