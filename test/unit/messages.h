/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between the two sides of a unit test: sizes around every threshold from a seed that both know,
 * a number in the first 8 bytes, and bytes that follow from it.
 */
#ifndef VMSHM_UNIT_MESSAGES_H
#define VMSHM_UNIT_MESSAGES_H

#include "side.h"

#define MAX_BYTES  (32u * 1024)
#define MANY       20000u

/* What has come and gone in this process. */
extern uint64_t arrived, completed;
extern uint32_t arrivals_seed;
/* Called with each message that has been found right, while it is still the callback's; NULL: not. */
extern void (*on_arrival)(const uint8_t *bytes, size_t length, uint64_t number);

/* The next size of the seed's sequence, 8 to MAX_BYTES. */
size_t size_of_message(uint32_t *seed);
void fill(uint8_t *to, size_t bytes, uint64_t number);
void require_content(const uint8_t *bytes, size_t length, uint64_t number);
/* side_start, for messages that come in order. */
void start(struct side *side);
/* To side->peer; each second one is completed only when the peer has consumed it. */
void send_one(struct side *side, uint64_t number, uint32_t *seed);
/* A side that is there until the other one meets it. */
int stand_by(struct side *side);

#endif
