#pragma once

// A listening Unix socket at `path`, for this user alone; what lay there before is removed.
int iov_unix_listen(const char *path);
// A connected one, on which a read fails with EAGAIN after so long without a byte, and a write likewise.
int iov_unix_connect(const char *path, int timeout_milliseconds);
