"""Runs `nir_file_worker.py` in forks of one process that has imported h5py: ten times as many files in a second.

python -I -S fork_server.py SOCKET WORKER FOLDERS

For each message, which is a worker's request and carries the two ends (file, output), it answers with the fork's
process id, and with its exit status when it has ended.
"""

import importlib.util
import io
import json
import os
import socket
import sys

sys.path += json.loads(sys.argv[3])
spec = importlib.util.spec_from_file_location("worker", sys.argv[2])
assert spec is not None and spec.loader is not None
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

channel = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, ends, _, _ = socket.recv_fds(channel, 1 << 16, 2)
    if not request:
        break
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            worker.serve(worker.WholeReads(io.FileIO(ends[0])), open(ends[1], "wb"), json.loads(request))  # noqa: PTH123, SIM115
            status = 0
        finally:
            os._exit(status)
    for end in ends:
        os.close(end)
    channel.send(str(pid).encode())
    channel.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
