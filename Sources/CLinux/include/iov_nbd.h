// What a client of NBD asks of the kernel: its connection, the kernel's TLS on it, and nbd's own netlink (the header's numbers).
#pragma once

#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <linux/tls.h>
#include <stdint.h>

// A TCP connection without delays to an address ("192.0.2.1" or an IPv6 one), or a negative errno. A connection that is not there
// after so long is none (-EINPROGRESS), and so is an answer to a read or write (-EAGAIN).
int iov_tcp_connect(const char *address, uint16_t port, int timeout_seconds);
// The same on a socket that is connected already.
int iov_set_timeouts(int socket_fd, int timeout_seconds);

// Hands a TCP connection to the kernel's TLS, which does nothing before it has keys. -ENOTCONN: it would, if the socket were
// connected; -ENOENT: this kernel has none.
int iov_kernel_tls_begin(int socket_fd);
// Gives it the keys of one direction: one of the structures of linux/tls.h.
int iov_kernel_tls_set_keys(int socket_fd, int receives, const void *keys, uint32_t length);

// From here on SIGTERM waits until it is asked for.
int iov_hold_termination(void);
// Returns when the other end has closed the connection, or SIGTERM has come: 1 in the second case, 0 in the first. Without a
// connection (-1) it is SIGTERM alone.
int iov_wait_for_end(int socket_fd);
