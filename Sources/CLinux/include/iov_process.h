#pragma once
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

// Starts `path` in a session of its own, with default signal dispositions and nothing blocked. `standard_error` becomes
// its standard error and `standard_input` its standard input, if that is not negative; else it reads /dev/null. Its standard
// output is /dev/null. The descriptors of `inherited` keep their numbers; every
// other one above 2 must be close-on-exec, and those above the highest inherited one are closed besides.
// Answers the process id, once the process can be found by its arguments.
pid_t iov_spawn(const char *path, char *const argv[], char *const envp[], const int *inherited, int inherited_count,
                int standard_input, int standard_error);

// A file without a name that goes with its last descriptor, close-on-exec. `name` is for /proc only.
int iov_memory_file(const char *name);

int iov_pidfd_open(pid_t pid);
int iov_pidfd_send_signal(int pidfd, int signal_number);

// Waits until the process has ended: 1, or 0 when it still runs after so many milliseconds.
int iov_pidfd_wait(int pidfd, int milliseconds);

// Reaps the process if it has ended: 1, 0 if it runs still, -ECHILD if it is not a child of this process.
// `code` becomes CLD_EXITED, CLD_KILLED or CLD_DUMPED, `status` the exit code or the signal.
int iov_pidfd_reap(int pidfd, int *code, int *status);

// 1 if the process runs `program` (the last part of its first argument) and has exactly this argument, by
// /proc/PID/cmdline; 0 if not, or if there is no such process. Arguments beyond 16 KiB are not seen.
int iov_process_has_argument(pid_t pid, const char *program, const char *argument);

// A duplicate of the TCP socket by which the process is connected with an address ("192.0.2.1" or an IPv6 one) and port; 0: any port.
// -ENOENT: it has no such connection.
int iov_process_connection(pid_t pid, int pidfd, const char *address, uint16_t port);
// 1 if the other end of a socket has closed it or is gone, 0 if not.
int iov_is_hung_up(int socket_fd);

int iov_set_close_on_exec(int fd);

// Who was at the other end of a Unix socket when it was connected.
int iov_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

// open(2) with O_CLOEXEC, which Swift sees only as a variadic function.
int iov_open(const char *path, int flags, unsigned mode);
// As iov_open, for reading past the page cache.
int iov_open_direct(const char *path);

// At most 15 bytes of the name are kept.
void iov_name_thread(pthread_t thread, const char *name);

int iov_epoll_create(void);
// Reports `key` once, when `fd` has become readable.
int iov_epoll_add_once(int epoll_fd, int fd, uint64_t key);
// As above, when the other end of a socket has closed it.
int iov_epoll_add_hang_up_once(int epoll_fd, int fd, uint64_t key);
// Waits for one report: 1, or a negative errno.
int iov_epoll_wait(int epoll_fd, uint64_t *key);
