/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks a byte of a file, as a process does that stands still inside, and keeps it.
 *
 *     hold_lock FILE BYTE SECONDS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    int fd;

    if (4 != argc) {
        fprintf(stderr, "usage: hold_lock FILE BYTE SECONDS\n");
        return 2;
    }
    fl.l_start = (off_t) atoll(argv[2]);
    fd = open(argv[1], O_RDWR | O_CLOEXEC);
    if (fd < 0 || 0 != fcntl(fd, F_OFD_SETLKW, &fl)) {
        perror(argv[1]);
        return 1;
    }
    sleep((unsigned int) atoi(argv[3]));
    return 0;
}
