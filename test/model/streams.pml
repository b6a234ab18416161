/*
 * Large messages: streams that go through one channel, some of them before they are asked for, and
 * pulls that come in another order than the streams were offered in.
 *
 * Mirrors, in opal/mca/btl/vmshm/: stream_pulled, offer_again, next_stream, stream_push,
 * deregister_mem (btl_vmshm_stream_out.c); get, take_chunk, stream_take (btl_vmshm_stream_in.c).
 *
 * Each stream must arrive whole and once, whatever the sender sent ahead and the receiver dropped,
 * and nobody may wait for ever. A stream may also be withdrawn without a pull (the upper layer sends
 * it another way). Channel and pulls are queues here: that a queue in shared memory keeps its order
 * and content is what ring.pml shows, and the description of a chunk is a slot of one line for it. Its bytes
 * stand in memory that the sender writes again only when the chunk was taken (btl_vmshm_place.c).
 *
 * Bounds: STREAMS streams of CHUNKS chunks, a channel of PLACES places. Streams know of each other only
 * what stands before them in the channel; three are enough for one that is lost, one that is asked
 * for and one behind it.
 */
#ifndef STREAMS
#define STREAMS 3
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef PLACES
#define PLACES 3
#endif
#define NONE 255

chan channel = [PLACES] of { byte, byte };      /* stream, number of the chunk in it */
chan pulls = [STREAMS] of { byte };
chan done = [STREAMS] of { byte };              /* the upper layer's message: deregister */

byte arrived[STREAMS];                          /* chunks that were taken in their order */
byte finished, ended;

mtype = { offered, awaited, running, gone };
mtype state[STREAMS] = offered;
bool pulled[STREAMS];
byte next_chunk[STREAMS];
byte current = NONE;
chan awaiting = [STREAMS] of { byte };
byte queue[8];                                    /* streams in the channel's order; NONE: left it */
byte runs;

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
    byte s, i, k;

    do
    :: atomic { pulls?s ->
        assert(!pulled[s]);
        pulled[s] = true;
        if
        :: state[s] == running -> offer_again(s)
        :: else ->
            offer_again(NONE - 1);
            state[s] = awaited;
            awaiting!s
        fi }
    :: atomic { current == NONE && nempty(awaiting) -> awaiting?s; start(s) }
#ifndef NOT_AHEAD
    :: atomic { current == NONE && empty(awaiting) && state[0] == offered -> start(0) }
    :: atomic { current == NONE && empty(awaiting) && state[1] == offered -> start(1) }
    :: atomic { current == NONE && empty(awaiting) && state[2] == offered -> start(2) }
#endif
    :: atomic { current != NONE && nfull(channel) ->
        channel!current, next_chunk[current];
        next_chunk[current]++;
        if
        :: next_chunk[current] == CHUNKS -> current = NONE
        :: else
        fi }
    :: atomic { done?s ->
        i = 0;
        do
        :: i < runs -> if :: queue[i] == s -> queue[i] = NONE :: else fi; i++
        :: else -> break
        od;
        if
        :: current == s -> current = NONE
        :: else
        fi;
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
    :: pulls!s;
#ifdef PULLS_OVERTAKE
        if
        :: list!s
        :: nempty(list) -> list?n; list!s; list!n
        fi
#else
        list!s
#endif
    /* Not contiguous: the upper layer asks for fragments. */
    :: finished++; arrived[s] = CHUNKS; done!s
    fi
}

proctype receiver()
{
    chan list = [STREAMS] of { byte };
    bool asked[STREAMS];
    byte turn = NONE, s, n;

    do
    /* A receive has matched, in whatever order. */
    :: atomic { !asked[0] -> ask(0) }
    :: atomic { !asked[1] -> ask(1) }
    :: atomic { !asked[2] -> ask(2) }
    :: atomic { turn == NONE && nempty(list) -> list?turn }
#ifdef NEVER_DROPS
    :: atomic { turn != NONE && channel?[eval(turn), eval(arrived[turn])] ->
#else
    :: atomic { turn != NONE && nempty(channel) ->
#endif
        channel?s, n;
        if
#ifdef ANY_CHUNK
        :: s == turn ->
            assert(n == arrived[s]);
#else
        :: s == turn && n == arrived[s] ->
#endif
            arrived[s]++;
            assert(arrived[s] <= CHUNKS);
            if
            :: arrived[s] == CHUNKS -> finished++; turn = NONE; done!s
            :: else
            fi
        :: else                         /* nobody awaits it: dropped */
        fi }
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
    atomic { run sender(); run receiver(); run watch() }
}
