// rtnetlink, devlink, traffic control and nf_tables as the kernel's headers give them, and the system calls on network namespaces
// that Glibc's module does not show to Swift.
#pragma once

#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/net_namespace.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <stddef.h>
#include <stdint.h>

// Makes the calling thread enter the network namespace behind `descriptor`. 0, or -1 with errno.
int iov_enter_network_namespace(int descriptor);
// Gives the calling thread a new, empty network namespace. 0, or -1 with errno.
int iov_new_network_namespace(void);
// Binds the calling thread's network namespace to the existing file `path`. 0, or -1 with errno.
int iov_pin_network_namespace(const char *path);
// Takes the binding off `path`. 0, or -1 with errno.
int iov_unpin_network_namespace(const char *path);

// A pipe whose ends (read, write) are closed on exec. 0, or -1 with errno.
int iov_pipe(int ends[2]);
// Whether `descriptor` is a kernel namespace, and not an ordinary file: 1 or 0.
int iov_is_namespace(int descriptor);

// Speed of an interface in Mbit/s by ethtool, through any socket of its namespace; 0 when it is unknown.
uint32_t iov_interface_speed_megabits(int socket, const char *name);

struct iov_driver_details {
  char driver[33];
  char firmware_version[33];
  char bus_address[33];
};

// What the interface's driver says of itself by ethtool; 0, or -1 with errno.
int iov_read_driver_details(int socket, const char *name, struct iov_driver_details *details);
// The Ethernet address that the card was made with, by ethtool; 0, or -1 with errno (ENODATA: it has none of six bytes).
int iov_read_permanent_address(int socket, const char *name, uint8_t address[6]);
