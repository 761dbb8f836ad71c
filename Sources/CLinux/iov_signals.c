#define _GNU_SOURCE
#include "iov_signals.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile sig_atomic_t counters[NSIG];

// write(2) is one of the few calls that a handler may make (signal-safety(7)).
static void count_signal(int number) {
  int kept = errno;
  uint64_t one = 1;
  ssize_t ignored = write(counters[number], &one, sizeof one);
  (void)ignored;  // what comes when 2^64 - 2 are waiting is not counted
  errno = kept;
}

int iov_watch_signals(const int *numbers, int count) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return -errno;
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < count; i++) {
    if (numbers[i] < 1 || numbers[i] >= NSIG) return -EINVAL;
    // Before the handler, which needs it.
    counters[numbers[i]] = fd;
    if (sigaction(numbers[i], &action, NULL) < 0) return -errno;
  }
  return fd;
}

int iov_take_signals(int eventfd) {
  uint64_t count;
  if (read(eventfd, &count, sizeof count) == sizeof count) return 1;
  return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}
