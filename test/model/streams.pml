/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages: streams that go through one channel, some of them before they are asked for, and
 * pulls that come in another order than the streams were offered in.
 *
 * Mirrors, in opal/mca/btl/vmshm/: register_mem, stream_pulled, offer_again, next_stream, stream_push,
 * deregister_mem (btl_vmshm_push.c); get, take_chunk, stream_take (btl_vmshm_get.c), check_chunk, check_place
 * (btl_vmshm_check.c).
 *
 * Each stream must arrive whole and once, whatever the sender sent ahead and the receiver dropped,
 * and nobody may wait for ever. A stream may also be withdrawn without a pull (the upper layer sends
 * it another way): what was sent of it ahead stays in the channel until it is dropped. What tells the
 * streams apart is what the code has: a number, and an index of the table in which the sender finds
 * the stream; tables and objects are used again, so STREAMS messages share ITEMS of them. Each chunk also
 * carries whose it really is, which nobody looks at but the assertions.
 *
 * That a queue in shared memory keeps its order and content is what ring.pml shows: channel and ring
 * are queues here, and the description of a chunk is a slot of one line for it. Its bytes stand in
 * memory that the sender writes again only when the chunk was taken (btl_vmshm_place.c).
 *
 * Bounds: STREAMS streams of CHUNKS chunks, a channel of PLACES places. Streams know of each other only
 * what stands before them in the channel; three are enough for one that is lost, one that is asked
 * for and one behind it, and a fourth for one that comes when one of them is forgotten.
 */
#ifndef STREAMS
#define STREAMS 3
#endif
#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef PLACES
#define PLACES 3
#endif
#define NONE 255

chan channel = [PLACES] of { byte, byte, byte };    /* number, number of the chunk in it; whose */
mtype = { pull, fin, unborn, offered, awaited, running, gone };

/* The ring the other way: pulls, and the upper layer's word that it is done (deregister). */
chan ring = [2 * STREAMS] of { mtype, byte, byte };

byte arrived[STREAMS];                          /* chunks that were taken in their order */
byte finished, ended;

mtype state[STREAMS] = unborn;
bool pulled[STREAMS];
byte next_chunk[STREAMS];
byte number[STREAMS];                           /* in the sender's header, as the index */
byte index_of[STREAMS];
byte born;                                      /* messages that were registered */
byte current = NONE;
chan awaiting = [STREAMS] of { byte };
byte queue[8];                                    /* streams in the channel's order; NONE: left it */
byte runs;

byte table[ITEMS] = NONE;
#ifdef RECYCLED_NUMBERS
/* Objects, last in first out, each with the count of its uses. */
byte free_items[ITEMS];
byte free_count = ITEMS;
byte item_of[STREAMS];
byte uses[ITEMS];
#endif

/* The next message gets a number, and the lowest free place of the table. */
inline register()
{
    k = 0;
    do
    :: table[k] != NONE -> k++
    :: else -> break
    od;
    table[k] = born;
    index_of[born] = k;
#ifdef RECYCLED_NUMBERS
    free_count--;
    item_of[born] = free_items[free_count];
    uses[item_of[born]]++;
    number[born] = uses[item_of[born]] * ITEMS + k;
#else
    number[born] = born + 1;
#endif
    state[born] = offered;
    born++;
    k = 0
}

inline forget(s)
{
    table[index_of[s]] = NONE;
#ifdef RECYCLED_NUMBERS
    free_items[free_count] = item_of[s];
    free_count++;
#endif
}

inline offer_again(end)
{
    i = 0;
    do
    :: i < runs && queue[i] != end ->
        if
        :: queue[i] != NONE && !pulled[queue[i]] ->
#ifndef KEEPS_DROPPED
            state[queue[i]] = offered;
            next_chunk[queue[i]] = 0;
            if
            :: current == queue[i] -> current = NONE
            :: else
            fi;
            queue[i] = NONE
#endif
            skip
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline start(s)
{
    state[s] = running;
    current = s;
    /* Forget what has left: the queue is short. */
    i = 0; k = 0;
    do
    :: i < runs && queue[i] != NONE -> queue[k] = queue[i]; k++; i++
    :: i < runs && queue[i] == NONE -> i++
    :: else -> break
    od;
    runs = k;
    queue[runs] = s;
    runs++;
    i = 0; k = 0
}

proctype sender()
{
    byte s, i, k, n;

    do
    :: atomic { born < STREAMS && born - ended < ITEMS -> register() }
    :: atomic { ring?pull, n, k ->
        s = table[k];
        assert(s != NONE && number[s] == n && !pulled[s]);
        pulled[s] = true;
        if
        :: state[s] == running -> offer_again(s)
        :: else ->
            offer_again(NONE - 1);
            state[s] = awaited;
            awaiting!s
        fi;
        n = 0; k = 0 }
    :: atomic { current == NONE && nempty(awaiting) -> awaiting?s; start(s) }
#ifndef NOT_AHEAD
    /* Which of those that are offered is any, so that one that begins again may come late. */
    :: atomic { current == NONE && empty(awaiting) && state[0] == offered -> start(0) }
    :: atomic { current == NONE && empty(awaiting) && state[1] == offered -> start(1) }
    :: atomic { current == NONE && empty(awaiting) && state[2] == offered -> start(2) }
#if STREAMS > 3
    :: atomic { current == NONE && empty(awaiting) && state[3] == offered -> start(3) }
#endif
#endif
    :: atomic { current != NONE && nfull(channel) ->
        channel!number[current], next_chunk[current], current;
        next_chunk[current]++;
        if
        :: next_chunk[current] == CHUNKS -> current = NONE
        :: else
        fi }
    :: atomic { ring?fin, s, _ ->
        i = 0;
        do
        :: i < runs -> if :: queue[i] == s -> queue[i] = NONE :: else fi; i++
        :: else -> break
        od;
        if
        :: current == s -> current = NONE
        :: else
        fi;
        forget(s);
        state[s] = gone;
        ended++;
        i = 0 }
    :: ended == STREAMS -> break
    od
}

inline ask(s)
{
    asked[s] = true;
    if
    :: ring!pull, number[s], index_of[s];
#ifdef PULLS_OVERTAKE
        if
        :: list!s
        :: nempty(list) -> list?n; list!s; list!n
        fi
#else
        list!s
#endif
    /* Not contiguous: the upper layer asks for fragments. */
    :: finished++; arrived[s] = CHUNKS; ring!fin, s, 0
    fi
}

proctype receiver()
{
    chan list = [STREAMS] of { byte };
    bool asked[STREAMS];
    byte turn = NONE, s, n, whose;

    do
    /* A receive has matched, in whatever order. */
    :: atomic { born > 0 && !asked[0] -> ask(0) }
    :: atomic { born > 1 && !asked[1] -> ask(1) }
    :: atomic { born > 2 && !asked[2] -> ask(2) }
#if STREAMS > 3
    :: atomic { born > 3 && !asked[3] -> ask(3) }
#endif
    :: atomic { turn == NONE && nempty(list) -> list?turn }
#ifdef NEVER_DROPS
    :: atomic { turn != NONE && channel?[eval(number[turn]), eval(arrived[turn]), _] ->
#else
    :: atomic { turn != NONE && nempty(channel) ->
#endif
        channel?s, n, whose;
        if
        :: s == number[turn] ->
            /* The code looks at the offset, too: a peer may lie. */
            assert(n == arrived[turn] && whose == turn);
            arrived[turn]++;
            assert(arrived[turn] <= CHUNKS);
            if
            :: arrived[turn] == CHUNKS -> finished++; s = turn; turn = NONE; ring!fin, s, 0
            :: else
            fi
        :: else                         /* nobody awaits it: dropped */
        fi;
        s = 0; n = 0; whose = 0 }
    :: finished == STREAMS -> break
    od
}

proctype watch()
{
    /* Nothing can happen any more. */
    timeout -> assert(finished == STREAMS && ended == STREAMS)
}

init
{
    atomic {
#ifdef RECYCLED_NUMBERS
        free_items[0] = 0;
        free_items[1] = 1;
#if ITEMS > 2
        free_items[2] = 2;
#endif
#endif
        run sender(); run receiver(); run watch()
    }
}
