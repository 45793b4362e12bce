"""Writes the golden vectors as a corpus to start from: fuzz/corpus/<target>/<name>."""

from pathlib import Path

FUZZ = Path(__file__).parent
# A target takes its limits from the first bytes of its input. These are the widest ones.
PREFIX = {"frame": b"", "request": b"\xff" * 4, "response": b"\xff" * 3}

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
