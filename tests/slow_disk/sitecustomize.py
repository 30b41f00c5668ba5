"""A disk that takes long over checkpoints while the file $SLOW_DISK is there."""

import os
import time

if "SLOW_DISK" in os.environ:
    fsync = os.fsync

    def slow_fsync(file):
        if os.path.exists(os.environ["SLOW_DISK"]) and "/.step_" in os.readlink(f"/proc/self/fd/{file}"):
            time.sleep(3)
        fsync(file)

    os.fsync = slow_fsync
