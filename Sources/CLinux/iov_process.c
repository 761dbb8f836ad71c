#define _GNU_SOURCE
#include "iov_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int set_attributes(posix_spawnattr_t *attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawnattr_setsigmask(attributes, &none);
  if (!error) error = posix_spawnattr_setsigdefault(attributes, &all);
  if (!error)
    error = posix_spawnattr_setflags(attributes,
                                     POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  return error;
}

static int contains(const int *numbers, int count, int number) {
  for (int i = 0; i < count; i++) {
    if (numbers[i] == number) return 1;
  }
  return 0;
}

static int set_descriptors(posix_spawn_file_actions_t *actions, const int *inherited, int count, int standard_input,
                           int standard_error) {
  int error = standard_input < 0 ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0)
                                 : posix_spawn_file_actions_adddup2(actions, standard_input, 0);
  if (!error) error = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
  if (!error) error = posix_spawn_file_actions_adddup2(actions, standard_error, 2);
  int highest = 2;
  for (int i = 0; !error && i < count; i++) {
    // The same number twice: glibc clears close-on-exec then.
    error = posix_spawn_file_actions_adddup2(actions, inherited[i], inherited[i]);
    if (inherited[i] > highest) highest = inherited[i];
  }
  // Not all that a library opens is close-on-exec: a daemon that outlives this process must hold nothing of it.
  for (int number = 3; !error && number < highest; number++) {
    if (!contains(inherited, count, number)) error = posix_spawn_file_actions_addclose(actions, number);
  }
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(actions, highest + 1);
  return error;
}

// posix_spawn returns when the child has let go of its parent's memory, a moment before the kernel shows its arguments:
// until then nobody would find it by them.
static void wait_for_arguments(pid_t pid) {
  char path[32], byte;
  snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
  for (int tries = 0; tries < 10000; tries++) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t count = read(fd, &byte, 1);
    close(fd);
    siginfo_t information = {0};
    if (count != 0 || waitid(P_PID, (id_t)pid, &information, WEXITED | WNOHANG | WNOWAIT) < 0 || information.si_pid) return;
    sched_yield();
  }
}

pid_t iov_spawn(const char *path, char *const argv[], char *const envp[], const int *inherited, int inherited_count,
                int standard_input, int standard_error) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int error = posix_spawnattr_init(&attributes);
  if (error) return -error;
  error = posix_spawn_file_actions_init(&actions);
  if (error) {
    posix_spawnattr_destroy(&attributes);
    return -error;
  }
  pid_t pid = 0;
  error = set_attributes(&attributes);
  if (!error) error = set_descriptors(&actions, inherited, inherited_count, standard_input, standard_error);
  if (!error) error = posix_spawn(&pid, path, &actions, &attributes, argv, envp);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) return -error;
  wait_for_arguments(pid);
  return pid;
}

int iov_memory_file(const char *name) {
  int fd = memfd_create(name, MFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int iov_pidfd_open(pid_t pid) {
  long fd = syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? -errno : (int)fd;
}

int iov_pidfd_send_signal(int pidfd, int signal_number) {
  return syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0) < 0 ? -errno : 0;
}

int iov_pidfd_wait(int pidfd, int milliseconds) {
  struct pollfd watched = {.fd = pidfd, .events = POLLIN};
  int count = poll(&watched, 1, milliseconds);
  return count < 0 && errno != EINTR ? -errno : count > 0;
}

int iov_pidfd_reap(int pidfd, int *code, int *status) {
  siginfo_t information = {0};
  if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &information, WEXITED | WNOHANG) < 0) return -errno;
  if (information.si_pid == 0) return 0;
  *code = information.si_code;
  *status = information.si_status;
  return 1;
}

// Whether the kernel calls the process so; it keeps the first 15 bytes of a program's name.
static int is_called(pid_t pid, const char *program) {
  char path[32], name[16];
  snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
  int fd = iov_open(path, O_RDONLY, 0);
  if (fd < 0) return 0;
  ssize_t length = read(fd, name, sizeof name);
  close(fd);
  if (length <= 1) return 0;
  name[length - 1] = 0;
  return strncmp(name, program, 15) == 0;
}

int iov_process_has_argument(pid_t pid, const char *program, const char *argument) {
  char path[32], line[16384 + 1];
  // First, because reading a command line waits for whoever changes that process's memory: milliseconds for a busy one.
  if (!is_called(pid, program)) return 0;
  snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
  int fd = iov_open(path, O_RDONLY, 0);
  if (fd < 0) return 0;
  ssize_t length = read(fd, line, sizeof line - 1);
  close(fd);
  if (length <= 0) return 0;
  line[length] = 0;
  const char *slash = strrchr(line, '/');
  if (strcmp(slash ? slash + 1 : line, program) != 0) return 0;
  for (const char *word = line; word < line + length; word += strlen(word) + 1)
    if (strcmp(word, argument) == 0) return 1;
  return 0;
}

static int leads_to(int fd, const char *address, uint16_t port) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0) return 0;
  unsigned char wanted[16];
  if (peer.ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
    return inet_pton(AF_INET, address, wanted) == 1 && memcmp(wanted, &v4->sin_addr, 4) == 0 &&
           (port == 0 || ntohs(v4->sin_port) == port);
  }
  if (peer.ss_family != AF_INET6) return 0;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
  return inet_pton(AF_INET6, address, wanted) == 1 && memcmp(wanted, &v6->sin6_addr, 16) == 0 &&
         (port == 0 || ntohs(v6->sin6_port) == port);
}

int iov_process_connection(pid_t pid, int pidfd, const char *address, uint16_t port) {
  char path[48], target[64];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *directory = opendir(path);
  if (!directory) return -errno;
  int found = -ENOENT;
  for (struct dirent *entry; found == -ENOENT && (entry = readdir(directory));) {
    ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
    if (length < 7 || memcmp(target, "socket:", 7) != 0) continue;
    // Close-on-exec by itself.
    int duplicate = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
    if (duplicate < 0) {
      if (errno != EBADF) found = -errno;
      continue;
    }
    if (leads_to(duplicate, address, port))
      found = duplicate;
    else
      close(duplicate);
  }
  closedir(directory);
  return found;
}

int iov_is_hung_up(int socket_fd) {
  struct pollfd watched = {.fd = socket_fd, .events = POLLRDHUP};
  return poll(&watched, 1, 0) > 0;
}

int iov_set_close_on_exec(int fd) { return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0; }

int iov_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
  *pid = credentials.pid;
  *uid = credentials.uid;
  *gid = credentials.gid;
  return 0;
}

int iov_open(const char *path, int flags, unsigned mode) {
  int fd = open(path, flags | O_CLOEXEC, mode);
  return fd < 0 ? -errno : fd;
}

int iov_open_direct(const char *path) { return iov_open(path, O_RDONLY | O_DIRECT, 0); }

void iov_name_thread(pthread_t thread, const char *name) {
  char kept[16];
  snprintf(kept, sizeof kept, "%s", name);
  pthread_setname_np(thread, kept);
}

int iov_epoll_create(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int add_once(int epoll_fd, int fd, uint64_t key, uint32_t events) {
  struct epoll_event event = {.events = events | EPOLLONESHOT, .data.u64 = key};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  // The number of a duplicate that was closed is given again, and epoll remembers it for as long as any duplicate of the
  // file is open (epoll(7)).
  if (errno == EEXIST && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  return -errno;
}

int iov_epoll_add_once(int epoll_fd, int fd, uint64_t key) { return add_once(epoll_fd, fd, key, EPOLLIN); }

int iov_epoll_add_hang_up_once(int epoll_fd, int fd, uint64_t key) { return add_once(epoll_fd, fd, key, EPOLLRDHUP); }

int iov_epoll_wait(int epoll_fd, uint64_t *key) {
  struct epoll_event event;
  int count = epoll_wait(epoll_fd, &event, 1, -1);
  if (count < 0) return -errno;
  *key = event.data.u64;
  return count;
}
