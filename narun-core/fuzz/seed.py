"""Writes the golden vectors as a corpus to start from: fuzz/corpus/<target>/<name>."""

from pathlib import Path

FUZZ = Path(__file__).parent
# A target takes its limits from the first bytes of its input. These are the widest ones.
PREFIX = {"frame": b"", "exchange": b"", "request": b"\xff" * 4, "response": b"\xff" * 3}

for block in (FUZZ.parent / "spec/vectors.txt").read_text().split("\n\n"):
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    if not lines:
        continue
    name = lines[0].split()[1]
    payload = bytes.fromhex("".join(line[3:] for line in lines if line.startswith("hex")))
    for target, prefix in PREFIX.items():
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(prefix + payload)

# Texts that their parsers accept, for targets without golden vectors.
TEXTS = {
    "ack_token": ["$JS.ACK.TASK.hello.3.17.40.1500000000000000000.9",
                  "$JS.ACK.hub.hash.TASK.hello.3.17.40.1500000000000000000.9.random.more"],
    "config": [(FUZZ.parent.parent / "examples/gateway.yaml").read_text(),
               "nats_stream: TASK\nroutes:\n- {path: '/a/{id}', host: '*.example.com', methods: [GET, PUT], app: a}\n"
               "- {grpc: a.B, app: a, timeout_seconds: 0.5}\n- {path: /b, app: b, respond_async: true, expiry_seconds: 1}\n"],
    "dead_letter": ["\x0f\x0d\x06\x01dead.TASK.hello1500000000000reason5"],
    "forwarded": ["\x03\x00for=198.51.100.1\n\x01198.51.100.1, 10.0.0.1\n\x06x-forwarded-for\n\x07example.com"],
    "host": ["\x04example.com:8080", "\x05http://[2001:db8::1]:80/\nexample.com", "\x08a\nb"],
    "outcome": ["\x01\x01" + "d" * 32 + "\x00", "\x01\x02" + "d" * 32 + "\x01" + "s" * 32 + "response"],
}
for target, texts in TEXTS.items():
    folder = FUZZ / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"text-{number}").write_text(text)
