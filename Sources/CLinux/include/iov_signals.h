#pragma once

// From here on each of these signals adds to an eventfd(2), which is answered (non-blocking, close-on-exec), and does nothing
// else. That is for good: the descriptor must stay open for as long as the process lives.
int iov_watch_signals(const int *numbers, int count);

// 1 if any has come since the last time, 0 if none has; does not wait.
int iov_take_signals(int eventfd);
