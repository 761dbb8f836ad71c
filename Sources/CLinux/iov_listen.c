#define _GNU_SOURCE
#include "iov_block.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// A socket filter sees a TCP segment from its TCP header on; the IP header is reached by offsets from SKF_NET_OFF. On a
// listening socket the filter also sees the first SYN, so a stranger gets no answer at all. Accepted sockets inherit it.
#define IPV4_SOURCE (SKF_NET_OFF + 12)
#define IPV6_SOURCE (SKF_NET_OFF + 8)
#define ACCEPT 0xffffffffu

static int admit(int fd, int family, const unsigned char *peer) {
  int words = family == AF_INET ? 1 : 4;
  unsigned base = family == AF_INET ? (unsigned)IPV4_SOURCE : (unsigned)IPV6_SOURCE;
  struct sock_filter program[2 * 4 + 2];
  int length = 0;
  for (int i = 0; i < words; i++) {
    uint32_t word;
    memcpy(&word, peer + 4 * i, 4);
    // A mismatch jumps to the last instruction, past what is left of the comparisons and the accepting return.
    unsigned char past = (unsigned char)(2 * (words - 1 - i) + 1);
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, base + 4 * (unsigned)i);
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(word), 0, past);
  }
  program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, ACCEPT);
  program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0 ? -errno : 0;
}

static int listen_on(int fd, const struct sockaddr *address, socklen_t length, const unsigned char *peer, uint16_t *port) {
  struct sockaddr_storage bound;
  socklen_t bound_length = sizeof bound;
  // The filter first: there is no moment in which a stranger could connect.
  int error = admit(fd, address->sa_family, peer);
  if (error) return error;
  // Accepted sockets inherit this. QEMU's negotiation answers in several small writes: with Nagle's algorithm each
  // connection waits 40 ms for a delayed acknowledgement (measured).
  int yes = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0) return -errno;
  // A port that was served before may have connections on it that the kernel is still closing.
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) return -errno;
  if (bind(fd, address, length) < 0 || listen(fd, 16) < 0) return -errno;
  if (getsockname(fd, (struct sockaddr *)&bound, &bound_length) < 0) return -errno;
  *port = bound.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&bound)->sin_port)
                                     : ntohs(((struct sockaddr_in6 *)&bound)->sin6_port);
  return 0;
}

int iov_listen_for_peer(const char *address, const char *peer, uint16_t *port) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(*port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
  unsigned char peer_bytes[16];
  int family = inet_pton(AF_INET, address, &v4.sin_addr) == 1     ? AF_INET
               : inet_pton(AF_INET6, address, &v6.sin6_addr) == 1 ? AF_INET6
                                                                  : AF_UNSPEC;
  if (family == AF_UNSPEC || inet_pton(family, peer, peer_bytes) != 1) return -EINVAL;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const struct sockaddr *generic = family == AF_INET ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
  socklen_t length = family == AF_INET ? sizeof v4 : sizeof v6;
  int error = listen_on(fd, generic, length, peer_bytes, port);
  if (error) {
    close(fd);
    return error;
  }
  return fd;
}
