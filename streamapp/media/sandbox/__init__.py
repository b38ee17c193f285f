"""Files are decoded in processes of their own, so that no file can hurt the worker.

::

    a decode thread ── DecoderPool.decode ── DecoderProcess ══ socket ══ child.py ── media.decode
         pool.py                                process.py      wire.py

What holds for every file, whatever its format:

- It ends: after `decode_timeout_s` its process is killed, also one that is stuck in C code.
- It can take no more memory than `decode_memory_mb`, as address space (Linux only: elsewhere the system
  does not enforce it).
- It can crash, or be killed, without harm: the picture gets its reason, the process is replaced.
- Its decoder has no secret in its environment, opens no file and no connection (it has no descriptor left
  to do so), writes no core dump, and outlives the worker by no more than the file's time.
- The worker believes nothing of an answer: each length is bounded before it is read, nothing is
  unpickled, the digest is the worker's own.

What does not: a decoder that a file has taken over runs on as the worker's user. It can make system
calls, so that it may attack other processes of that user, and it can lie about the files that come
after. Against that, run the container without privileges and with a seccomp profile.

All formats go this way, for it costs little: 0.5 ms of CPU for a picture of 320 px and 1 to 2 ms at 1080 px,
where NudeNet takes 13 ms (`benchmarks/decode_isolation.py`). To replace a process costs 0.25 s of CPU.
"""
