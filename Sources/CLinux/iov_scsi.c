#include "iov_scsi.h"

#include <errno.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>

int iov_scsi_execute(int fd, const uint8_t *command, uint8_t command_length, enum iov_scsi_direction direction, void *data,
                     uint32_t data_length, uint32_t timeout_milliseconds, struct iov_scsi_outcome *outcome) {
  struct sg_io_hdr request;
  memset(outcome, 0, sizeof *outcome);
  memset(&request, 0, sizeof request);
  request.interface_id = 'S';
  request.dxfer_direction = direction == IOV_SCSI_FROM_DEVICE ? SG_DXFER_FROM_DEV
                            : direction == IOV_SCSI_TO_DEVICE ? SG_DXFER_TO_DEV
                                                              : SG_DXFER_NONE;
  request.cmd_len = command_length;
  request.cmdp = (unsigned char *)command;
  request.mx_sb_len = sizeof outcome->sense;
  request.sbp = outcome->sense;
  request.dxfer_len = data_length;
  request.dxferp = data;
  request.timeout = timeout_milliseconds;
  if (ioctl(fd, SG_IO, &request) < 0) return -errno;
  // A residue that cannot be is a driver's mistake; all of the buffer, which was zeroed, is then what there is.
  int residue = request.resid;
  outcome->transferred_bytes =
      residue >= 0 && (uint32_t)residue <= data_length ? data_length - (uint32_t)residue : data_length;
  outcome->host_status = request.host_status;
  outcome->driver_status = request.driver_status;
  outcome->status = request.status;
  outcome->sense_length = request.sb_len_wr <= sizeof outcome->sense ? request.sb_len_wr : sizeof outcome->sense;
  return 0;
}
