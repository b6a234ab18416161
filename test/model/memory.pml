/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory as the models see it: words of one byte, and a store buffer for each process that writes.
 *
 * A store goes into the buffer of its process and reaches memory later, at a moment of its own:
 *
 *   default  in any order, except that stores to one word keep theirs, and that a store with
 *            release waits for all that were made before it. What was made after a release may
 *            overtake it. This is what Armv8 allows: stores leave in any order, but all others
 *            see each at the same moment.
 *   -DTSO    in the order in which they were made, as on x86.
 *
 * A full fence waits until the own buffer is empty. A load takes the newest store of the own
 * buffer, or memory. Loads happen where they stand in a model; where the C code has an acquire
 * (or a release after loads) that forbids them to move, a -D switch of the model moves them.
 *
 * Include after defining WORDS (of memory), WRITERS and DEPTH (stores that a buffer holds, at
 * most 6; a process with a full buffer waits, so that DEPTH bounds how far it runs ahead of its
 * stores).
 */
typedef store_buffer {
    byte count;
    byte at[DEPTH];
    byte value[DEPTH];
    bool release[DEPTH]
};

byte memory[WORDS];
store_buffer buffer[WRITERS];
byte scan;                              /* scratch of the steps below, 0 between them */

#define RELAXED false
#define RELEASE true

inline store(writer, where, what, order)
{
    d_step {
        buffer[writer].count < DEPTH ->
        buffer[writer].at[buffer[writer].count] = where;
        buffer[writer].value[buffer[writer].count] = what;
        buffer[writer].release[buffer[writer].count] = order;
        buffer[writer].count++
    }
}

inline load(writer, where, what)
{
    d_step {
        what = memory[where];
        scan = 0;
        do
        :: scan < buffer[writer].count ->
            if
            :: buffer[writer].at[scan] == where -> what = buffer[writer].value[scan]
            :: else
            fi;
            scan++
        :: else -> break
        od;
        scan = 0
    }
}

#define fence(writer) (buffer[writer].count == 0)

/* A store leaves the buffer; those behind it move up, so that equal buffers are equal states. */
inline leave_buffer(writer, index)
{
    memory[buffer[writer].at[index]] = buffer[writer].value[index];
    drop(writer, index)
}

inline drop(writer, index)
{
    scan = index;
    do
    :: scan + 1 < buffer[writer].count ->
        buffer[writer].at[scan] = buffer[writer].at[scan + 1];
        buffer[writer].value[scan] = buffer[writer].value[scan + 1];
        buffer[writer].release[scan] = buffer[writer].release[scan + 1];
        scan++
    :: else -> break
    od;
    buffer[writer].at[scan] = 0;
    buffer[writer].value[scan] = 0;
    buffer[writer].release[scan] = false;
    buffer[writer].count--;
    scan = 0
}

/* May the store at this place of the buffer leave before those in front of it? */
#define AT(w, i)       buffer[w].at[i]
#define DIFFERS(w, i, j) (AT(w, i) != AT(w, j))
#ifdef TSO
#define OVERTAKES(w, i) false
#else
#define OVERTAKES(w, i) (i < buffer[w].count && !buffer[w].release[i])
#endif
#define LEAVES_1(w) (OVERTAKES(w, 1) && DIFFERS(w, 1, 0))
#define LEAVES_2(w) (OVERTAKES(w, 2) && DIFFERS(w, 2, 0) && DIFFERS(w, 2, 1))
#define LEAVES_3(w) (OVERTAKES(w, 3) && DIFFERS(w, 3, 0) && DIFFERS(w, 3, 1) && DIFFERS(w, 3, 2))
#define LEAVES_4(w) (OVERTAKES(w, 4) && DIFFERS(w, 4, 0) && DIFFERS(w, 4, 1) \
                     && DIFFERS(w, 4, 2) && DIFFERS(w, 4, 3))
#define LEAVES_5(w) (OVERTAKES(w, 5) && DIFFERS(w, 5, 0) && DIFFERS(w, 5, 1) \
                     && DIFFERS(w, 5, 2) && DIFFERS(w, 5, 3) && DIFFERS(w, 5, 4))

proctype store_buffers(byte w)
{
end:
    do
    :: d_step { buffer[w].count > 0 -> leave_buffer(w, 0) }
#if DEPTH > 1
    :: d_step { LEAVES_1(w) -> leave_buffer(w, 1) }
#endif
#if DEPTH > 2
    :: d_step { LEAVES_2(w) -> leave_buffer(w, 2) }
#endif
#if DEPTH > 3
    :: d_step { LEAVES_3(w) -> leave_buffer(w, 3) }
#endif
#if DEPTH > 4
    :: d_step { LEAVES_4(w) -> leave_buffer(w, 4) }
#endif
#if DEPTH > 5
    :: d_step { LEAVES_5(w) -> leave_buffer(w, 5) }
#endif
    od
}
