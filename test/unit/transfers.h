/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages between two sides: what one offers, the other gets. What the upper layer's header would carry, and
 * its message when all has come, goes through the socket and as a short message.
 */
#ifndef VMSHM_UNIT_TRANSFERS_H
#define VMSHM_UNIT_TRANSFERS_H

#include "side.h"

#include "btl_vmshm_get.h"
#include "btl_vmshm_push.h"

/* The longest. */
#define MOST (1024u * 1024)

/* Short messages that came, and transfers that are complete, in this process. */
extern unsigned int told, got;

/* For side_start(): counts what comes in told. */
void on_told(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
             mca_btl_base_descriptor_t *des, void *context);
/* For mca_btl_vmshm_get(): counts in got. */
void on_got(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
            void *local_address, struct mca_btl_base_registration_handle_t *local_handle,
            void *context, void *cbdata, int status);

/* The byte at that place of a transfer of that size. */
uint8_t byte_of(size_t size, size_t at);
void require_transferred(const uint8_t *to, size_t size);

/* Fill the memory and offer it; the other side hears the handle. */
struct mca_btl_base_registration_handle_t *offer(struct side *side, uint8_t *from,
                                                 size_t size);
/* Make progress until so many short messages came. */
void push_until_told(unsigned int count);
/* Ask for what was offered. */
void ask(const struct side *side, uint8_t *to, size_t size,
         struct mca_btl_base_registration_handle_t *remote);
/* Make progress until so many transfers are complete. */
void get_until(unsigned int count);
/* The short message that says so. */
void tell_done(const struct side *side);

#endif
