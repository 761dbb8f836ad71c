#pragma once

struct nbd_handle;

/// Instead of libnbd's function of this name.
int nbd_can_trim(struct nbd_handle *handle);
