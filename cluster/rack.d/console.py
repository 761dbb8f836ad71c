"""A node's terminal on this one: console.py SOCKET. Ctrl-] leaves it."""
import os
import select
import socket
import sys
import termios
import tty

LEAVE = b"\x1d"

terminal = socket.socket(socket.AF_UNIX)
terminal.connect(sys.argv[1])
before = termios.tcgetattr(0)
try:
    tty.setraw(0)
    terminal.send(b"\n")  # for a prompt
    while True:
        ready = select.select([0, terminal], [], [])[0]
        typed = os.read(0, 4096) if 0 in ready else None
        shown = terminal.recv(65536) if terminal in ready else None
        if typed == b"" or shown == b"" or (typed and LEAVE in typed):
            break
        if typed:
            terminal.sendall(typed)
        if shown:
            os.write(1, shown)
finally:
    termios.tcsetattr(0, termios.TCSADRAIN, before)
    print()
