/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * labsh: runs commands in a lab guest over TCP and passes stdin, stdout, stderr, signals and the
 * exit status faithfully.
 *
 *   labsh serve                        in the guest; may be pid 1
 *   labsh run [-n] [-p PID] [-d DIR] [-e VAR=VALUE]... [-t SECONDS] HOST WORD...
 *   labsh rsh HOST WORD...             what mpirun's plm_rsh_agent calls
 *   labsh hangup PID HOST              shuts down process PID's TCP connections to HOST
 *
 * Why not sshd: a login costs 2.7 s of key exchange in a software-emulated guest, this 0.05 s; and
 * when the client goes away the command is ended, which sshd does only with a terminal. There is
 * no authentication: it is fit only for the closed network namespace of a lab.
 *
 * run: one word is a line for bash, several words are executed exactly as given. rsh joins its
 * words to one line. Exit status: the command's, 128+N if signal N ended it, 255 if the guest
 * could not be reached or vanished.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "7514"
#define CHUNK 16384
/* The client sends at most this much stdin that the command has not taken yet. So the server
 * always drains the socket, and a signal is never stuck behind data nobody reads. */
#define WINDOW 65536
#define REQUEST_MAX (4u << 20)

/* A frame is one type byte, a length (network order) and the payload. */
enum {
    F_REQUEST = 'Q', /* cwd NUL, VAR=VALUE NUL ..., NUL, argv[0] NUL, argv[1] NUL ... */
    F_STDIN = 'I',   /* data; length 0 is the end of file */
    F_SIGNAL = 'S',  /* one byte: the number */
    F_STDOUT = 'O',
    F_STDERR = 'R',
    F_ACK = 'A',     /* u32: bytes of stdin that the command's pipe took */
    F_EXIT = 'X'     /* u32: as a shell's $? */
};

static void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("labsh: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(255);
}

static int read_full(int fd, void *buf, size_t n)
{
    char *p = buf;
    while (n > 0) {
        ssize_t r = read(fd, p, n);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            return -1;
        }
        p += r;
        n -= (size_t) r;
    }
    return 0;
}

static int write_full(int fd, const void *buf, size_t n)
{
    const char *p = buf;
    while (n > 0) {
        ssize_t r = write(fd, p, n);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0 && errno == EAGAIN) { /* an inherited stdout may be non-blocking */
            struct pollfd pf = {.fd = fd, .events = POLLOUT};
            poll(&pf, 1, -1);
            continue;
        }
        if (r <= 0) {
            return -1;
        }
        p += r;
        n -= (size_t) r;
    }
    return 0;
}

static int frame_send(int fd, int type, const void *buf, uint32_t len)
{
    unsigned char head[5] = {(unsigned char) type};
    uint32_t be = htonl(len);
    memcpy(head + 1, &be, 4);
    if (write_full(fd, head, 5) < 0) {
        return -1;
    }
    return len > 0 ? write_full(fd, buf, len) : 0;
}

static int frame_send_u32(int fd, int type, uint32_t v)
{
    v = htonl(v);
    return frame_send(fd, type, &v, 4);
}

/* Reads one frame; *buf grows as needed and belongs to the caller. */
static int frame_recv(int fd, int *type, char **buf, uint32_t *len)
{
    unsigned char head[5];
    uint32_t be;
    if (read_full(fd, head, 5) < 0) {
        return -1;
    }
    memcpy(&be, head + 1, 4);
    *type = head[0];
    *len = ntohl(be);
    if (*len > REQUEST_MAX) {
        return -1;
    }
    char *p = realloc(*buf, *len + 1);
    if (p == NULL) {
        return -1;
    }
    *buf = p;
    p[*len] = '\0';
    return read_full(fd, p, *len);
}

static void socket_options(int fd)
{
    /* A guest paused for a minute is not lost; one silent for two is. */
    int one = 1, idle = 30, interval = 10, count = 9, user_timeout = 120000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
}

/* ---------------------------------------------------------------- server */

static void command_exec(char *request, uint32_t len, int in, int out, int err)
{
    char *end = request + len, *p = request, *argv[4096];
    int argc = 0;
    sigset_t none;

    setsid();
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (*p == '\0' || chdir(p) < 0) {
        if (chdir("/root") < 0) {
            _exit(126);
        }
    }
    for (p += strlen(p) + 1; p < end && *p != '\0'; p += strlen(p) + 1) {
        putenv(p);
    }
    for (p++; p < end && argc < 4095; p += strlen(p) + 1) {
        argv[argc++] = p;
    }
    argv[argc] = NULL;
    if (argc == 0) {
        _exit(126);
    }
    execvp(argv[0], argv);
    fprintf(stderr, "labsh: cannot execute %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Forwards what the pipe holds now. Returns false at its end. */
static int pump(int sock, int type, int fd)
{
    char buf[CHUNK];
    ssize_t r = read(fd, buf, sizeof(buf));
    if (r > 0) {
        return frame_send(sock, type, buf, (uint32_t) r) == 0;
    }
    return r < 0 && (errno == EAGAIN || errno == EINTR);
}

static void command_end(pid_t pid)
{
    /* The client is gone. TERM first: mpirun then ends its job on the other guests too. */
    kill(-pid, SIGHUP);
    kill(-pid, SIGTERM);
    for (int i = 0; i < 50; i++) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            break;
        }
        usleep(100000);
    }
    kill(-pid, SIGKILL);
}

static void session(int sock)
{
    char *buf = NULL, in[WINDOW];
    uint32_t len, in_used = 0;
    int type, p_in[2], p_out[2], p_err[2], status = 0, in_eof = 0;

    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    socket_options(sock);
    if (frame_recv(sock, &type, &buf, &len) < 0 || type != F_REQUEST) {
        return;
    }
    if (pipe2(p_in, O_CLOEXEC) < 0 || pipe2(p_out, O_CLOEXEC) < 0 || pipe2(p_err, O_CLOEXEC) < 0) {
        return;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return;
    }
    if (pid == 0) {
        command_exec(buf, len, p_in[0], p_out[1], p_err[1]);
    }
    close(p_in[0]);
    close(p_out[1]);
    close(p_err[1]);
    fcntl(p_in[1], F_SETFL, O_NONBLOCK);
    fcntl(p_out[0], F_SETFL, O_NONBLOCK);
    fcntl(p_err[0], F_SETFL, O_NONBLOCK);
    int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);

    for (;;) {
        struct pollfd pf[5] = {
            {.fd = sock, .events = POLLIN},
            {.fd = pidfd, .events = POLLIN},
            {.fd = p_out[0], .events = POLLIN},
            {.fd = p_err[0], .events = POLLIN},
            {.fd = in_used > 0 ? p_in[1] : -1, .events = POLLOUT},
        };
        if (poll(pf, 5, -1) < 0 && errno != EINTR) {
            break;
        }
        if (pf[1].revents) {
            /* What the command wrote is in the pipes already. Their end is not waited for: a
             * daemon that it left behind may hold them for ever. */
            while (p_out[0] >= 0 && pump(sock, F_STDOUT, p_out[0])) {
                struct pollfd more = {.fd = p_out[0], .events = POLLIN};
                if (poll(&more, 1, 0) <= 0) {
                    break;
                }
            }
            while (p_err[0] >= 0 && pump(sock, F_STDERR, p_err[0])) {
                struct pollfd more = {.fd = p_err[0], .events = POLLIN};
                if (poll(&more, 1, 0) <= 0) {
                    break;
                }
            }
            waitpid(pid, &status, 0);
            frame_send_u32(sock, F_EXIT,
                           WIFSIGNALED(status) ? 128u + (unsigned) WTERMSIG(status)
                                               : (unsigned) WEXITSTATUS(status));
            return;
        }
        if (pf[2].revents && !pump(sock, F_STDOUT, p_out[0])) {
            close(p_out[0]);
            p_out[0] = -1;
        }
        if (pf[3].revents && !pump(sock, F_STDERR, p_err[0])) {
            close(p_err[0]);
            p_err[0] = -1;
        }
        if (pf[4].revents) {
            ssize_t r = write(p_in[1], in, in_used);
            if (r < 0 && errno != EAGAIN && errno != EINTR) {
                r = in_used; /* nobody reads: swallow it, as a closed pipe does */
            }
            if (r > 0) {
                in_used -= (uint32_t) r;
                memmove(in, in + r, in_used);
                frame_send_u32(sock, F_ACK, (uint32_t) r);
            }
        }
        if (pf[0].revents) {
            if (frame_recv(sock, &type, &buf, &len) < 0) {
                command_end(pid);
                return;
            }
            if (type == F_STDIN && len == 0) {
                in_eof = 1;
            } else if (type == F_STDIN) {
                if (len > WINDOW - in_used) {
                    command_end(pid);
                    return;
                }
                memcpy(in + in_used, buf, len);
                in_used += len;
            } else if (type == F_SIGNAL && len == 1) {
                kill(-pid, (unsigned char) buf[0]);
            }
        }
        if (in_eof && in_used == 0 && p_in[1] >= 0) {
            close(p_in[1]);
            p_in[1] = -1;
        }
    }
}

static int serve(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(PORT))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 || listen(fd, 64) < 0) {
        die("cannot listen on port %s: %s", PORT, strerror(errno));
    }
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps our sessions, and as pid 1 all orphans */
    for (;;) {
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (c < 0) {
            continue;
        }
        if (fork() == 0) {
            close(fd);
            session(c);
            _exit(0);
        }
        close(c);
    }
}

/* ---------------------------------------------------------------- client */

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static int dial(const char *host, double seconds)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *ai = NULL;
    double end = now() + seconds;
    int err = getaddrinfo(host, PORT, &hints, &ai);
    if (err != 0) {
        die("unknown host %s: %s", host, gai_strerror(err));
    }
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct pollfd pf = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof(err);
        err = 0;
        if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
            err = errno;
            if (err == EINPROGRESS) {
                double left = end - now();
                if (poll(&pf, 1, left > 0 ? (int) (left * 1000) : 0) == 1) {
                    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
                } else {
                    err = ETIMEDOUT;
                }
            }
        }
        if (err == 0) {
            fcntl(fd, F_SETFL, 0);
            freeaddrinfo(ai);
            return fd;
        }
        close(fd);
        if (now() >= end) {
            die("guest %s does not answer: %s", host, strerror(err));
        }
        usleep(20000);
    }
}

static void append(char **buf, size_t *used, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = realloc(*buf, *used + n);
    if (p == NULL) {
        die("out of memory");
    }
    memcpy(p + *used, s, n);
    *buf = p;
    *used += n;
}

static int client(const char *host, char *request, size_t used, int no_stdin, pid_t guest,
                  double seconds)
{
    char *buf = NULL, data[CHUNK];
    uint32_t len, u32, outstanding = 0;
    int type, signals = 0, guest_fd = -1, in = no_stdin ? -1 : 0;
    sigset_t set;
    struct signalfd_siginfo si;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    int sock = dial(host, seconds);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int sigfd = signalfd(-1, &set, SFD_CLOEXEC);
    socket_options(sock);
    if (guest > 0 && (guest_fd = (int) syscall(SYS_pidfd_open, guest, 0)) < 0) {
        die("guest %s is not running", host);
    }
    if (used > REQUEST_MAX || frame_send(sock, F_REQUEST, request, (uint32_t) used) < 0) {
        die("cannot send the command to %s", host);
    }
    if (no_stdin) {
        frame_send(sock, F_STDIN, NULL, 0);
    }
    for (;;) {
        struct pollfd pf[4] = {
            {.fd = sock, .events = POLLIN},
            {.fd = sigfd, .events = POLLIN},
            {.fd = guest_fd, .events = POLLIN},
            {.fd = outstanding < WINDOW ? in : -1, .events = POLLIN},
        };
        if (poll(pf, 4, -1) < 0 && errno != EINTR) {
            die("poll: %s", strerror(errno));
        }
        if (pf[0].revents) {
            if (frame_recv(sock, &type, &buf, &len) < 0) {
                die("guest %s closed the connection: it went down, or the link was lost", host);
            }
            switch (type) {
            case F_STDOUT:
            case F_STDERR:
                if (write_full(type == F_STDOUT ? 1 : 2, buf, len) < 0) {
                    return 128 + SIGPIPE; /* closing the connection ends the command */
                }
                break;
            case F_ACK:
                memcpy(&u32, buf, 4);
                outstanding -= ntohl(u32);
                break;
            case F_EXIT:
                memcpy(&u32, buf, 4);
                return (int) ntohl(u32);
            default:
                die("guest %s sent an unknown frame", host);
            }
            continue; /* first everything that the guest said, then its death */
        }
        if (pf[2].revents) {
            die("guest %s went down while the command ran", host);
        }
        if (pf[1].revents && read(sigfd, &si, sizeof(si)) == (ssize_t) sizeof(si)) {
            unsigned char no = (unsigned char) si.ssi_signo;
            if (signals++ > 0 || frame_send(sock, F_SIGNAL, &no, 1) < 0) {
                return 128 + no; /* asked twice: leave; that ends the command the hard way */
            }
        }
        if (pf[3].revents) {
            size_t room = WINDOW - outstanding;
            ssize_t r = read(in, data, room < sizeof(data) ? room : sizeof(data));
            if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
                continue;
            }
            if (r <= 0) {
                r = 0;
                in = -1;
            }
            outstanding += (uint32_t) r;
            /* a write error shows as the end of the connection above */
            (void) frame_send(sock, F_STDIN, data, (uint32_t) r);
        }
    }
}

/* ---------------------------------------------------------------- hangup */

/* mpirun offers no way to give up a daemon. If its connection ends, it gives it up in good order. */
static int hangup(pid_t pid, const char *host)
{
    struct sockaddr_in want = {.sin_family = AF_INET}, peer;
    int count = 0, pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    char path[64];
    struct dirent *entry;

    if (inet_pton(AF_INET, host, &want.sin_addr) != 1) {
        die("hangup: %s is no IPv4 address", host);
    }
    snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
    DIR *dir = opendir(path);
    if (pidfd < 0 || dir == NULL) {
        die("hangup: no process %d", (int) pid);
    }
    while ((entry = readdir(dir)) != NULL) {
        int fd = (int) syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
        socklen_t size = sizeof(peer);
        if (fd < 0) {
            continue;
        }
        if (getpeername(fd, (struct sockaddr *) &peer, &size) == 0 && peer.sin_family == AF_INET
            && peer.sin_addr.s_addr == want.sin_addr.s_addr) {
            count += shutdown(fd, SHUT_RDWR) == 0;
        }
        close(fd);
    }
    closedir(dir);
    return count > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char *request = NULL, *dir = NULL, *env[512], *line = NULL;
    size_t used = 0, line_used = 0;
    int opt, no_stdin = 0, nenv = 0;
    pid_t guest = 0;
    double seconds = 10;

    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        return serve();
    }
    if (argc == 4 && strcmp(argv[1], "hangup") == 0) {
        return hangup(atoi(argv[2]), argv[3]);
    }
    int rsh = argc > 1 && strcmp(argv[1], "rsh") == 0;
    if (!rsh && (argc < 2 || strcmp(argv[1], "run") != 0)) {
        die("usage: labsh serve | run [options] HOST WORD... | rsh HOST WORD... | "
            "hangup PID HOST");
    }
    argc--;
    argv++;
    while ((opt = getopt(argc, argv, "+np:d:e:t:")) != -1) {
        switch (opt) {
        case 'n':
            no_stdin = 1;
            break;
        case 'p':
            guest = atoi(optarg);
            break;
        case 'd':
            dir = optarg;
            break;
        case 'e':
            if (nenv < 512) {
                env[nenv++] = optarg;
            }
            break;
        case 't':
            seconds = atof(optarg);
            break;
        default:
            return 255;
        }
    }
    if (argc - optind < 2) {
        die("a host and a command are needed");
    }
    const char *host = argv[optind++];
    append(&request, &used, dir ? dir : "");
    for (int i = 0; i < nenv; i++) {
        append(&request, &used, env[i]);
    }
    append(&request, &used, "");
    if (rsh || argc - optind == 1) {
        for (int i = optind; i < argc; i++) {
            append(&line, &line_used, argv[i]);
            line[line_used - 1] = ' ';
        }
        line[line_used - 1] = '\0';
        append(&request, &used, "/bin/bash");
        append(&request, &used, "-c");
        append(&request, &used, line);
    } else {
        for (int i = optind; i < argc; i++) {
            append(&request, &used, argv[i]);
        }
    }
    return client(host, request, used, no_stdin, guest, seconds);
}
