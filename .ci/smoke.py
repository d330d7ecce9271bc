#!/usr/bin/env python3
"""The first thing a newcomer does, as a check: start `colloquy dev` with an empty data folder,
stream one answer, press Ctrl-C, and see that nothing is left behind.

    .ci/smoke.py [path of the binary]          (target/release/colloquy if none is given)

Needs nothing but Python's standard library and Linux's /proc.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

READY_WITHIN = 300  # the first start may have to download Postgres and NATS
STOP_WITHIN = 30
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment():
    """Nothing of the caller's may point the binary at other servers or settings."""
    foreign = ("DATABASE_URL", "NATS_URL")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in foreign and not name.startswith("COLLOQUY_")
    }


def request(port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers or {}, body=body)
    return connection.getresponse()


def wait_until_ready(process, port):
    give_up = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise SystemExit(f"dev ended with code {process.returncode}")
        try:
            if request(port, "GET", "/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"dev was not ready within {READY_WITHIN} s")


def stream_an_answer(port, key):
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    models = json.loads(request(port, "GET", "/v1/models", headers).read())
    model = models["data"][0]["id"]
    question = {"role": "user", "content": "Hello, who are you?"}
    body = json.dumps({"model": model, "stream": True, "messages": [question]})
    answer = request(port, "POST", "/v1/chat/completions", headers, body)
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {answer.read().decode()}")
    lines = answer.read().decode().splitlines()
    frames = [line[6:] for line in lines if line.startswith("data: ")]
    if frames[-1:] != ["[DONE]"]:
        raise SystemExit(f"the stream did not end with [DONE] but with {frames[-1:]}")
    choices = [json.loads(frame)["choices"][0] for frame in frames[:-1]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    if len(frames) < 4 or not text or choices[-1]["finish_reason"] is None:
        raise SystemExit(f"not a whole answer: {frames}")
    say(f"{model} streamed {len(frames)} frames: {text[:60]!r}")


def processes_of(session, folder):
    """Processes of our session, and any that names our folder: the private servers do."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            # After the name in brackets: state, parent, group, session.
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if stat[0] != "Z" and (int(stat[3]) == session or str(folder) in command):
            found.append(f"{entry.name} {command.strip()}")
    return found


def stop(process):
    os.killpg(process.pid, signal.SIGINT)
    try:
        code = process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"dev did not stop within {STOP_WITHIN} s of Ctrl-C") from None
    if code != 0:
        raise SystemExit(f"dev ended with code {code} after Ctrl-C")


def nothing_is_left(session, folder):
    give_up = time.monotonic() + 5
    left = processes_of(session, folder)
    while left and time.monotonic() < give_up:
        time.sleep(0.2)
        left = processes_of(session, folder)
    if left:
        raise SystemExit("left behind:\n" + "\n".join(left))


def main():
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/colloquy").resolve()
    home = pathlib.Path(tempfile.mkdtemp(prefix="colloquy-smoke-"))
    # As root, Postgres runs as another user, which has to get through here.
    home.chmod(0o755)
    log = home / "dev.log"
    port = free_port()
    command = [binary, "dev", "--data-dir", home / "data", "--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=home, env=environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )
    passed = False
    try:
        wait_until_ready(process, port)
        say("dev is ready")
        stream_an_answer(port, (home / "data" / "api-key").read_text().strip())
        stop(process)
        say("dev has stopped")
        nothing_is_left(process.pid, home)
        say("nothing is left behind")
        passed = True
    finally:
        if process.poll() is None:
            # The private servers notice that their owner is gone and end by themselves.
            process.kill()
            process.wait()
        if not passed:
            print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
