#pragma once
#include <stdint.h>

// What came back of a SCSI command. The numbers are those of the kernel's sg_io_hdr.
struct iov_scsi_outcome {
  uint32_t transferred_bytes;
  uint16_t host_status;
  uint16_t driver_status;
  uint8_t status;
  uint8_t sense_length;
  uint8_t sense[252];
};

enum iov_scsi_direction { IOV_SCSI_NO_DATA, IOV_SCSI_FROM_DEVICE, IOV_SCSI_TO_DEVICE };

// Sends a command to an open block or sg device by SG_IO and waits for its end. 0, or a negative errno when the kernel did
// not take it; whatever the device, or the way to it, said stands in `outcome`.
int iov_scsi_execute(int fd, const uint8_t *command, uint8_t command_length, enum iov_scsi_direction direction, void *data,
                     uint32_t data_length, uint32_t timeout_milliseconds, struct iov_scsi_outcome *outcome);
