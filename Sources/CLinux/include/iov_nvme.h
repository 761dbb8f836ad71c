#pragma once
#include <stdint.h>

// An NVMe command as its words are numbered in the specification.
struct iov_nvme_command {
  uint8_t opcode;
  uint32_t namespace_id;
  uint32_t words_10_to_15[6];
};

// Sends a command to the admin queue of an open controller (nvmeX), or to a queue for reading and writing of an open namespace
// (nvmeXnY), and waits for its end. Which way data goes stands in the opcode's lower two bits. 0, with the first word of the
// answer in `result`; a negative errno when the kernel did not take it; else the status as the kernel has it.
int iov_nvme_execute(int fd, int is_admin, const struct iov_nvme_command *command, void *data, uint32_t data_length,
                     uint32_t timeout_milliseconds, uint32_t *result);
