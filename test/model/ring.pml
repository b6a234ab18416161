/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring from one process to another.
 *
 * Mirrors, in opal/mca/btl/vmshm/:
 *   sender    ring_has_room, ring_publish, ring_publish_cell, ring_make_room, reclaim_acked
 *             (btl_vmshm_ring.h); send, try_send, flush (btl_vmshm_send.c);
 *             send_now, send_short (btl_vmshm_sendi.c); make_ring, ring_grow, reclaim (btl_vmshm_open.c); cell_take,
 *             cell_give, ring_give (btl_vmshm_memory.c); take_leave (btl_vmshm_attend.c)
 *   receiver  take_messages, take, take_cell, take_short, show_head (btl_vmshm_poll.c);
 *             ring_follow, take_ring (btl_vmshm_listen.c); attend_to (btl_vmshm_attend.c); what each reads of the
 *             other: check_slots, check_cell, check_silent, heed_ack, check_acked, check_consumed
 *             (btl_vmshm_check.h, btl_vmshm_check.c)
 *   monitor   tick (vmshm_monitor.c), fate_look (vmshm_fate.c), both in opal/mca/common/vmshm
 *
 * Shape of an instance, by -D:
 *   MESSAGES  that the program sends, numbered from 1: what is received must be 1, 2, 3, ...
 *   SLOTS     of the first ring
 *   LINES     slots that a message may take in the ring: the first slot's word publishes them all,
 *             the others hold bytes of the message only. Which bytes is the user's choice, so
 *             the model chooses the worst: a word that fits the slot.
 *   CELLS     messages may stand in one of so many cells, two stores and two loads each
 *   GROW      slots of the ring that replaces the first one when that is full
 *   ACKS      the receiver also sends, and its messages say what it has consumed
 *   DEATH     either process may stop for ever at any step
 *   SILENCE   the monitor may call the receiver silent although it only is slow
 *   TSO       see memory.pml
 * An acknowledgement may come with any message or with none, as short ones have none. A cell that is
 * taken and written ahead of its message (own_next_cell) is a cell that is taken earlier here.
 * A message that does not fit before the ring's end is preceded by a padding message, or, with
 * -DAVOID_END, takes one slot (in the code: a cell). The padding waits for room of its own here; to
 * wait for room for both, as the code does, is one of the orders that this allows.
 *
 * The sequence in a word is the position modulo SEQS, 2 * slots of the larger ring here, 2^32 in
 * the code with at most 2^16 slots: what matters is that it is larger than the ring, by a whole
 * factor. Positions start just below SEQS, so that every run passes its wrap-around.
 *
 * Bounds: rings of 2 to 8 slots, 4 to 9 messages (a lap and more), two messages that wait, one
 * growth, six stores on their way. The rules speak of one slot and its next use, of one cell and
 * its next use, of one switch: two laps show each of them. What sums over many (fairness among
 * peers, the number of windows, callbacks' order) is not shown; nor is a peer that breaks the
 * rules.
 *
 * Every other -D removes one rule of the protocol: test/suites/model.sh demands that spin then
 * finds an error.
 */
#ifndef LINES
#define LINES 1
#endif
#ifndef CELLS
#define CELLS 0
#endif
#ifndef GROW
#define GROW 0
#endif
#if GROW > 0
#define LARGEST GROW
#else
#define LARGEST SLOTS
#endif

#ifdef SMALL_SEQUENCE                   /* the sequence tells no lap from the next */
#define SEQS LARGEST
#else
#define SEQS (2 * LARGEST)
#endif
#define FIRST (2 * LARGEST - 2)

/* A slot is two words of memory: the word, and the message's bytes. A cell is two. */
#define OTHER_RING (2 * SLOTS)
#define CELL_0 (2 * SLOTS + 2 * GROW)
#define WORDS (CELL_0 + 2 * CELLS + 1)
#define LEFT_AT (WORDS - 1)             /* the sender's state in the process table: it has left */
#define WRITERS 1
#define DEPTH 6
#include "memory.pml"

#define SEQ(p) (((p) + 1) % SEQS)
#define UNPUBLISHED(p) ((p) % SEQS)
#define WORD(p, kind) (SEQ(p) + SEQS * (kind))
#define KIND(word) ((word) / SEQS)
/* Kinds 1 to LINES: as many slots of the ring. 0: never published. */
#define CELL (LINES + 1)
#define SWITCH (LINES + 2)
#define PAD (LINES + 3)

#define WORD_AT(base, slots, p) ((base) + 2 * ((p) % (slots)))
#define BYTES_AT(base, slots, p) (WORD_AT(base, slots, p) + 1)

#ifdef NO_WORD_RELEASE
#define WORD_ORDER RELAXED
#else
#define WORD_ORDER RELEASE
#endif
#ifdef NO_RESERVE                       /* no slot is kept free for the switch and the next word */
#define USABLE (slots)
#else
#define USABLE (slots - 1)
#endif

#if defined(DEATH)
#define WHILE_ALIVE(flag) provided (flag)
#else
#define WHILE_ALIVE(flag)
#endif

byte head_shown = FIRST;                /* by the receiver, still on its way */
byte head_seen = FIRST;                 /* what a load of the sender finds */
#ifdef ACKS
#ifdef NARROW_ACK
#define ACK(p) ((p) % SEQS)
#else
#define ACK(p) (p)
#endif
byte ack_sent = FIRST;                  /* in a message of the receiver to the sender */
#endif

bool sender_alive = true, sender_done;
bool receiver_alive = true, receiver_done;
bool sender_lost, receiver_lost;        /* the monitor's verdict about the peer, to its reader */


/* ------------------------------------------------------------------------------ sender */

#define LINES_OF(kind) ((kind) > LINES -> 1 : (kind))
#ifdef ROOM_FOR_ONE
#define HAS_ROOM(lines) (tail + 1 - head <= USABLE)
#else
#define HAS_ROOM(lines) (tail + (lines) - head <= USABLE)
#endif
#define TO_THE_END (slots - tail % slots)
#define NEEDS_PAD(kind) (LINES_OF(kind) > TO_THE_END)
#define HAS_CELL(kind) ((kind) != CELL || free_cells > 0)
#define CAN_SEND(kind) (!NEEDS_PAD(kind) && HAS_ROOM(LINES_OF(kind)) && HAS_CELL(kind))

/* The slot at which the receiver will look next must not look published by bytes of a message that
 * stood in it, or by a word that a padding left there laps ago. */
inline clear_next(p)
{
#if LINES > 1 && !defined(NO_CLEAR)
    if
#ifdef CLEAR_ALWAYS
    :: true ->
#else
    :: stale[(p) % slots] ->
#endif
        store(0, WORD_AT(base, slots, p), UNPUBLISHED(p), RELAXED);
        stale[(p) % slots] = false
    :: else
    fi
#else
    skip
#endif
}

inline mark_stale(lines)
{
#if LINES > 1
    stale[tail % slots] = false;
    line = 1;
    do
    :: line < (lines) -> stale[(tail + line) % slots] = true; line++
    :: else -> break
    od;
    line = 0
#else
    skip
#endif
}

/* Bytes of a message that are read as a word: of the two sequences that this slot ever holds, the
 * one of this lap or the one of the next. */
inline raw_word(p)
{
    if
    :: store(0, WORD_AT(base, slots, p), WORD(p, 1), RELAXED)
    :: store(0, WORD_AT(base, slots, p), WORD(p + slots, 1), RELAXED)
    fi
}

inline publish(kind, lines)
{
    mark_stale(lines);
#ifdef CLEAR_LATE
    store(0, WORD_AT(base, slots, tail), WORD(tail, kind), WORD_ORDER);
    clear_next(tail + (lines));
#else
    clear_next(tail + (lines));
    store(0, WORD_AT(base, slots, tail), WORD(tail, kind), WORD_ORDER);
#endif
    tail = tail + (lines)
}

inline send_message(message, kind)
{
    if
    :: kind == CELL ->
        free_cells--;
        cell = stack[free_cells];
        stack[free_cells] = 0;
        if
        :: early -> early = false
        :: else -> store(0, CELL_0 + 2 * cell, message, RELAXED)
        fi;
        store(0, CELL_0 + 2 * cell + 1, message, RELAXED);
        store(0, BYTES_AT(base, slots, tail), cell, RELAXED);
#ifdef CELL_BACK_EARLY
        stack[free_cells] = cell;
        free_cells++;
#else
        inflight[tail % LARGEST] = cell + 1;
#endif
        cell = 0
    :: else ->
        line = kind - 1;
        do
        :: line > 0 ->
            raw_word(tail + line);
            store(0, BYTES_AT(base, slots, tail + line), message, RELAXED);
            line--
        :: else -> break
        od;
        store(0, BYTES_AT(base, slots, tail), message, RELAXED)
    fi;
    publish(kind, LINES_OF(kind))
}

#define PENDING 2                       /* descriptors that wait, see send */

inline reclaim_to(position_)
{
    line = position_;
    do
    :: head != line ->
        if
        :: inflight[head % LARGEST] != 0 ->
            stack[free_cells] = inflight[head % LARGEST] - 1;
            free_cells++;
            inflight[head % LARGEST] = 0
        :: else
        fi;
        head++
    :: else -> break
    od;
    line = 0
}

/* Room for at most five stores at a time, so that a whole message is one step of the sender: what
 * others see of it, and when, is up to the store buffer. */
#define BUFFER_HAS_ROOM (buffer[0].count <= 1)

proctype sender() WHILE_ALIVE(sender_alive)
{
    byte tail = FIRST, head = FIRST, base = 0, slots = SLOTS;
    byte next = 1;                      /* message of the program */
    byte pending_message[PENDING], pending_kind[PENDING], pending_count;
    byte message, kind, line;
    byte stack[CELLS + 1], free_cells = CELLS, cell;
    byte inflight[LARGEST];             /* cell + 1 of each position */
    byte old_last;                      /* position of the switch, 0: nothing to take back */
    bool grown, early;
#ifdef ACKS
    byte ack = ACK(FIRST);
#endif
#if LINES > 1
    bool stale[LARGEST];                /* no word of ours of the last lap stands in the slot */
#endif

    d_step {
        do
        :: cell < CELLS -> stack[cell] = cell; cell++
        :: else -> break
        od;
        cell = 0
    }
    do
    /* The program sends: at once if nothing waits, otherwise behind those that wait. */
    :: atomic {
        next <= MESSAGES && pending_count < PENDING && BUFFER_HAS_ROOM && !sender_lost ->
        if
        :: kind = 1
#if LINES > 1
        :: kind = LINES
#endif
#if LINES > 2
        :: kind = 2
#endif
#if CELLS > 0
        :: kind = CELL
#endif
        fi;
        if
#ifdef NO_PENDING_CHECK
        :: CAN_SEND(kind) -> send_message(next, kind)
#else
        :: pending_count == 0 && CAN_SEND(kind) -> send_message(next, kind)
#endif
        :: else ->
            pending_message[pending_count] = next;
            pending_kind[pending_count] = kind;
            pending_count++
        fi;
        next++;
        kind = 0
       }
    /* flush: the first of those that wait, when there is room for it */
    :: atomic {
        pending_count > 0 && BUFFER_HAS_ROOM && !sender_lost && CAN_SEND(pending_kind[0]) ->
        message = pending_message[0];
        kind = pending_kind[0];
        pending_count--;
        pending_message[0] = pending_message[1];
        pending_kind[0] = pending_kind[1];
        pending_message[1] = 0;
        pending_kind[1] = 0;
        send_message(message, kind);
        message = 0;
        kind = 0
       }
#if LINES > 1
#ifdef AVOID_END
    :: atomic { pending_count > 0 && NEEDS_PAD(pending_kind[0]) -> pending_kind[0] = 1 }
#else
    :: atomic { pending_count > 0 && BUFFER_HAS_ROOM && !sender_lost &&
                NEEDS_PAD(pending_kind[0]) && HAS_ROOM(TO_THE_END) ->
        publish(PAD, TO_THE_END)
       }
#endif
#endif
#ifdef NO_HEAD_ACQUIRE                  /* a store goes ahead of the load that permits it */
    :: atomic { pending_count > 0 && pending_kind[0] == CELL && free_cells == 0 && !early ->
        store(0, CELL_0, pending_message[0], RELAXED);
        early = true
       }
#endif
#if GROW > 0
    /* ring_grow: the other ring's memory was a ring before. */
    :: atomic { pending_count > 0 && !HAS_ROOM(LINES_OF(pending_kind[0])) && !grown ->
#ifndef NO_RING_INIT
        line = 0;
        do
        :: line < GROW ->
            store(0, WORD_AT(OTHER_RING, GROW, tail + 1 + line), UNPUBLISHED(tail + 1 + line),
                  RELAXED);
            line++
        :: else -> break
        od;
        line = 0;
#endif
        store(0, BYTES_AT(base, slots, tail), OTHER_RING, RELAXED);
        old_last = tail;
        publish(SWITCH, 1);
        base = OTHER_RING;
        slots = GROW;
#if LINES > 1
        line = 0;
        do
        :: line < GROW -> stale[line] = false; line++
        :: else -> break
        od;
        line = 0;
#endif
        grown = true
       }
#endif
    /* reclaim */
    :: atomic { head < head_seen && !sender_lost -> reclaim_to(head_seen) }
#ifdef ACKS
    /* The receiver's next message comes in. What it stored before is seen: its head. */
#ifdef ACK_BEFORE_HEAD
    :: d_step { ack != ACK(ack_sent) -> ack = ACK(ack_sent) }
#else
    :: d_step { ack != ACK(ack_sent) && ack_sent <= head_seen -> ack = ACK(ack_sent) }
#endif
    /* A head that goes back is a broken peer's. */
    :: d_step { head_seen < head -> assert(false) }
    /* reclaim_acked */
#ifdef NARROW_ACK
    :: atomic { (ack + 2 * SEQS - head % SEQS) % SEQS > 0 &&
                (ack + 2 * SEQS - head % SEQS) % SEQS <= tail - head ->
        reclaim_to(head + (ack + 2 * SEQS - head % SEQS) % SEQS)
       }
#else
    :: atomic { ack > head && ack <= tail -> reclaim_to(ack) }
#endif
#endif
#if GROW > 0
    /* The old ring's memory serves others, whose content may be anything. */
#ifdef OLD_RING_EARLY
    :: atomic { old_last != 0 && buffer[0].count == 0 ->
#else
    :: atomic { old_last != 0 && head > old_last && buffer[0].count == 0 ->
#endif
        old_last = 0;
        line = 0;
        do
        :: line < SLOTS -> store(0, BYTES_AT(0, SLOTS, line), 0, RELAXED); line++
        :: else -> break
        od;
        line = 0
       }
#endif
    /* Every message was consumed: no callback is due. */
    :: next > MESSAGES && pending_count == 0 && head == tail -> break
#if defined(DEATH) || defined(SILENCE)
#ifndef SENDER_HEEDS_NOT
    :: sender_lost -> break
#endif
    /* In order, with messages on their way to a slow peer. */
    :: next > MESSAGES && pending_count == 0 -> break
#endif
    od;
#ifdef REUSE_AFTER_VERDICT
    if
    :: sender_lost ->
        line = 0;
        do
        :: line < SLOTS -> store(0, BYTES_AT(0, SLOTS, line), 0, RELAXED); line++
        :: else -> break
        od
    :: else
    fi;
#endif
#ifdef NO_LEFT_RELEASE
    store(0, LEFT_AT, 1, RELAXED);
#else
    store(0, LEFT_AT, 1, RELEASE);
#endif
    sender_done = true
}

/* ---------------------------------------------------------------------------- receiver */

#define LOOK memory[WORD_AT(base, slots, position)]
#ifdef NO_POSITION_CHECK
#define PUBLISHED(word) (KIND(word) != 0)
#else
#define PUBLISHED(word) ((word) % SEQS == SEQ(position))
#endif

inline show_head(position_)
{
    head_shown = position_
}

/* Each load is a step of its own: the sender may store between any two. */
inline take(at_)
{
    d_step { assert(memory[at_] == expected) }
}

proctype receiver() WHILE_ALIVE(receiver_alive)
{
    byte position = FIRST, base = 0, slots = SLOTS;
    byte expected = 1;
    byte word, lines, line, cell;
#ifdef NO_WORD_ACQUIRE
    byte before;
#endif
    bool lost, empty_handed;

    do
#if defined(DEATH) || defined(SILENCE)
    /* attend_to: first the verdict, then what is left in the ring. */
#ifndef RECEIVER_HEEDS_NOT
    :: receiver_lost && !lost -> lost = true
#endif
#ifdef NO_VERDICT_ACQUIRE               /* the last look is older than the verdict */
    :: !lost && !receiver_lost && !PUBLISHED(LOOK) ->
        if
        :: receiver_lost -> lost = true; empty_handed = true
        :: PUBLISHED(LOOK)
        fi
#endif
    :: atomic { lost && (empty_handed || !PUBLISHED(LOOK)) ->
        /* Nothing that the sender published before it went is missing. */
        assert(!PUBLISHED(LOOK));
        if
        :: memory[LEFT_AT] == 1 && !sender_lost -> assert(expected == MESSAGES + 1)
        :: else
        fi;
        break
       }
#else
    :: expected > MESSAGES && head_shown == position -> break
#endif
    /* A poll ends: what was consumed is shown. */
#ifndef HEAD_NOT_SHOWN
    :: head_shown != position && head_shown == head_seen && !PUBLISHED(LOOK) ->
        show_head(position)
#endif
#ifdef ACKS
    /* It sends a message itself, which says what it has shown. */
    :: d_step { ack_sent != head_shown -> ack_sent = head_shown }
#endif
#ifdef NO_WORD_ACQUIRE                  /* the bytes are loaded before the word */
    :: before == 0 && !PUBLISHED(LOOK) -> before = memory[BYTES_AT(base, slots, position)] + 1
#endif
    :: atomic { !empty_handed && PUBLISHED(LOOK) -> word = LOOK };
        assert(KIND(word) != 0);
        if
        :: KIND(word) == SWITCH && GROW > 0 ->
            assert(memory[BYTES_AT(base, slots, position)] == OTHER_RING);
            base = OTHER_RING;
            slots = LARGEST;
            position++
        :: KIND(word) == PAD && LINES > 1 ->
            position = position + slots - position % slots
        :: KIND(word) <= LINES || (KIND(word) == CELL && CELLS > 0) ->
            lines = LINES_OF(KIND(word));
            assert(position % slots + lines <= slots);
#ifdef NO_HEAD_RELEASE                  /* the head goes ahead of the loads */
            if
            :: head_shown == head_seen -> show_head(position + lines)
            :: true
            fi;
#endif
            if
            :: KIND(word) == CELL && CELLS > 0 ->
                cell = memory[BYTES_AT(base, slots, position)];
                take(CELL_0 + 2 * cell);
                take(CELL_0 + 2 * cell + 1);
                cell = 0
            :: else ->
#ifdef NO_WORD_ACQUIRE
                if
                :: before != 0 -> assert(before == expected + 1)
                :: else
                fi;
#endif
                line = 0;
                do
                :: line < lines ->
                    assert(line == 0 || KIND(memory[WORD_AT(base, slots, position + line)]) == 1);
                    take(BYTES_AT(base, slots, position + line));
                    line++
                :: else -> break
                od;
                line = 0
            fi;
            expected++;
            position = position + lines;
            lines = 0;
            /* poll shows the head after so many bytes */
            if
            :: head_shown == head_seen -> show_head(position)
            :: true
            fi
        :: else -> assert(false)        /* a kind that nobody sent: the peer would be given up */
        fi;
#ifdef NO_WORD_ACQUIRE
        before = 0;
#endif
        word = 0
    od;
    receiver_done = true
}

/* -------------------------------------------------------- the way of the head, and deaths */

active proctype head_on_its_way()
{
end:
    do
    :: d_step { head_seen != head_shown -> head_seen = head_shown }
    od
}

#if defined(DEATH) || defined(SILENCE)
active proctype monitor()
{
    bool calm;                          /* nobody dies any more: who waits in vain is then found */

end:
    do
    :: !calm -> calm = true
#ifdef DEATH
    /* Of a dead sender any part of what stood in its buffer may have reached memory. */
    :: d_step { !calm && sender_alive && !sender_done ->
        sender_alive = false;
        do
        :: buffer[0].count > 0 -> drop(0, 0)
        :: else -> break
        od
       }
    :: !calm && receiver_alive && !receiver_done -> receiver_alive = false
    :: !sender_alive && !receiver_lost -> receiver_lost = true
    :: !receiver_alive && !sender_lost -> sender_lost = true
#endif
#ifdef SILENCE
    :: !calm && !sender_lost -> sender_lost = true
#endif
    /* The sender has left, or its whole job was ended. */
    :: memory[LEFT_AT] == 1 && !receiver_lost -> receiver_lost = true
    od
}
#endif

/* Nobody can go on: then everybody who lives must have come to an end. */
active proctype watch()
{
end:
    timeout ->
    assert(sender_done || !sender_alive);
    assert(receiver_done || !receiver_alive)
}

init
{
    atomic {
        byte p = 0;
        do
        :: p < SLOTS -> memory[WORD_AT(0, SLOTS, FIRST + p)] = UNPUBLISHED(FIRST + p); p++
        :: else -> break
        od;
#if GROW > 0
        /* What an earlier use left there: words that would be taken for messages. */
        p = 0;
        do
        :: p < GROW -> memory[WORD_AT(OTHER_RING, GROW, p)] = WORD(p, 1); p++
        :: else -> break
        od;
#endif
        p = 0;
        run store_buffers(0);
        run sender();
        run receiver()
    }
}
