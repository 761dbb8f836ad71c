#define _GNU_SOURCE
#include "iov_nbd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static int failed(int fd) {
  int error = -errno;
  close(fd);
  return error;
}

int iov_set_timeouts(int socket_fd, int timeout_seconds) {
  struct timeval limit = {.tv_sec = timeout_seconds};
  if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) return -errno;
  return setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ? -errno : 0;
}

int iov_tcp_connect(const char *address, uint16_t port, int timeout_seconds) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  const struct sockaddr *peer = (const struct sockaddr *)&v4;
  socklen_t length = sizeof v4;
  if (inet_pton(AF_INET, address, &v4.sin_addr) != 1) {
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) return -EINVAL;
    peer = (const struct sockaddr *)&v6;
    length = sizeof v6;
  }
  int fd = socket(peer->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int one = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) return failed(fd);
  int error = iov_set_timeouts(fd, timeout_seconds);
  if (error) return close(fd), error;
  return connect(fd, peer, length) < 0 ? failed(fd) : fd;
}

int iov_kernel_tls_begin(int socket_fd) {
  return setsockopt(socket_fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") < 0 ? -errno : 0;
}

int iov_kernel_tls_set_keys(int socket_fd, int receives, const void *keys, uint32_t length) {
  return setsockopt(socket_fd, SOL_TLS, receives ? TLS_RX : TLS_TX, keys, length) < 0 ? -errno : 0;
}

static void termination(sigset_t *signals) {
  sigemptyset(signals);
  sigaddset(signals, SIGTERM);
}

int iov_hold_termination(void) {
  sigset_t signals;
  termination(&signals);
  return sigprocmask(SIG_BLOCK, &signals, NULL) < 0 ? -errno : 0;
}

int iov_wait_for_end(int socket_fd) {
  sigset_t signals;
  termination(&signals);
  int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
  if (signal_fd < 0) return -errno;
  struct pollfd watched[2] = {{.fd = socket_fd, .events = POLLRDHUP}, {.fd = signal_fd, .events = POLLIN}};
  int count;
  do count = poll(watched, 2, -1);
  while (count < 0 && errno == EINTR);
  if (count < 0) return failed(signal_fd);
  close(signal_fd);
  return watched[1].revents != 0;
}
