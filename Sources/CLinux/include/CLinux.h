#pragma once
// What Linux offers and Glibc's Swift module does not show. Each function does one system call, or one short sequence
// that has to be in C.
#include "iov_block.h"
#include "iov_mapper.h"
#include "iov_nbd.h"
#include "iov_netlink.h"
#include "iov_nvme.h"
#include "iov_process.h"
#include "iov_scsi.h"
#include "iov_signals.h"
#include "iov_unix_socket.h"
