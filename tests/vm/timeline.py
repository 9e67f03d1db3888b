# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draw what happened to a service, beside what happened to it otherwise: JSON in, text out.

Pure: no clock, no terminal, no file.  Data: {"runs": [RUN, ...], "why": text}, and a RUN is
{"title", "victim": what cgd-victim reports, "start_usec": when the neighbour began,
"events": [{"t_usec", "kind": "hold|squeeze|raise|release|gone", "bytes"}],
"memory": [[t_usec, bytes], ...]}, all times on one clock per run.
"""
from __future__ import annotations

BARS = " ▁▂▃▄▅▆▇█"
HEIGHT = 6
COLOURS = {"good": "32", "poor": "33", "bad": "31", "dim": "2", "bold": "1"}
# What the neighbour does: not there, free, its limit lowered, gone.
STATE = {"away": " ", "free": "─", "held": "▓", "gone": "✕"}
WORDS = {"hold": "held at", "squeeze": "squeezed to", "raise": "raised to", "release": "released",
         "gone": "gone"}
SILENT_MS = 200


def paint(text: str, colour: str, on: bool) -> str:
    """Colour the text, but not the spaces around it."""
    bare = text.strip(" ")
    if not on or not bare:
        return text
    before, after = text[:len(text) - len(text.lstrip(" "))], text[len(text.rstrip(" ")):]
    return f"{before}\033[{COLOURS[colour]}m{bare}\033[0m{after}"


def size_text(value: int) -> str:
    return f"{value / (1 << 30):.1f}G" if value >= 1 << 30 else f"{value >> 20}M"


def duration(run: dict) -> float:
    victim = run["victim"]
    return len(victim["buckets"]) * victim["bucket_ms"] / 1000


def columns(run: dict, width: int, seconds: float) -> list[dict]:
    """Each column's share of kept requests (None past the end) and whether it holds a silence."""
    victim = run["victim"]
    per_bucket = victim["rate"] * victim["bucket_ms"] / 1000
    buckets = victim["buckets"][:-1] or victim["buckets"]
    result = []
    for i in range(width):
        first = int(i * seconds * 1000 / width / victim["bucket_ms"])
        last = max(first + 1, int((i + 1) * seconds * 1000 / width / victim["bucket_ms"]))
        part = buckets[first:last]
        kept = min(1.0, sum(part) / (len(part) * per_bucket)) if part else None
        result.append({"kept": kept, "silent": longest_zero(part) * victim["bucket_ms"] >= SILENT_MS})
    return result


def longest_zero(buckets: list[int]) -> int:
    best = length = 0
    for n in buckets:
        length = 0 if n else length + 1
        best = max(best, length)
    return best


def kept_colour(kept: float) -> str:
    return "good" if kept >= 0.97 else "poor" if kept >= 0.8 else "bad"


def chart(cols: list[dict], colour: bool) -> list[str]:
    rows = []
    for row in range(HEIGHT - 1, -1, -1):
        line = ""
        for col in cols:
            if col["kept"] is None:
                line += " "
                continue
            level = round(col["kept"] * HEIGHT * 8) - row * 8
            line += paint(BARS[max(0, min(8, level))], kept_colour(col["kept"]), colour)
        rows.append(line)
    return rows


def seconds_of(run: dict, usec: int) -> float:
    return (usec - run["victim"]["t0_usec"]) / 1e6


def state_row(run: dict, width: int, seconds: float, colour: bool) -> str:
    """What was done to the neighbour, a character a column."""
    marks = [("free", seconds_of(run, run["start_usec"]))]
    for event in run["events"]:
        state = {"gone": "gone", "release": "free"}.get(event["kind"], "held")
        marks.append((state, seconds_of(run, event["t_usec"])))
    line, gone = "", False
    for i in range(width):
        end = (i + 1) * seconds / width
        begun = [(s, t) for s, t in marks if t < end]
        state = begun[-1][0] if begun else "away"
        # A hold that begins and ends within one column must be seen all the same.
        if any(s == "held" and t >= i * seconds / width for s, t in begun) and state != "gone":
            state = "held"
        line += " " if gone else paint(STATE[state], {"held": "poor", "gone": "bad"}.get(state, "dim"), colour)
        gone = gone or state == "gone"
    return line


def memory_row(run: dict, width: int, seconds: float, top: int, colour: bool) -> str:
    line = ""
    for i in range(width):
        inside = [b for t, b in run["memory"] if i * seconds / width <= seconds_of(run, t) < (i + 1) * seconds / width]
        line += BARS[min(8, (max(inside) * 8 + top - 1) // top)] if inside and top else " "
    return paint(line, "dim", colour)


def axis(width: int, seconds: float) -> str:
    right = f"{seconds:.0f} s"
    middle = f"{seconds / 2:.0f}"
    line = "0" + " " * (width // 2 - 1 - len(middle) // 2) + middle
    return line + " " * (width - len(line) - len(right)) + right


def silent_row(cols: list[dict], colour: bool) -> str:
    return "".join(paint("!", "bad", colour) if c["silent"] else " " for c in cols)


def totals(run: dict) -> list[str]:
    victim = run["victim"]
    gone = [e for e in run["events"] if e["kind"] == "gone"]
    alive = (f"neighbour gone after {(gone[0]['t_usec'] - run['start_usec']) / 1e6:.1f} s" if gone
             else "neighbour there to the end")
    return [f"requests kept {victim['kept_permyriad'] / 100:.1f} %",
            f"longest silence {victim['longest_silence_ms']} ms", alive]


def panel(run: dict, width: int, seconds: float, top: int, colour: bool) -> list[tuple[str, str]]:
    """Lines of one run as (label, text); each text is width columns wide."""
    cols = columns(run, width, seconds)
    lines = [("", paint(run["title"].ljust(width)[:width], "bold", colour))]
    labels = ["100 %"] + [""] * (HEIGHT - 2) + ["  0 %"]
    lines += list(zip(labels, chart(cols, colour)))
    lines += [("silent", silent_row(cols, colour)),
              ("memory", memory_row(run, width, seconds, top, colour)),
              ("state", state_row(run, width, seconds, colour)),
              ("", axis(width, seconds)), ("", " " * width)]
    return lines + [("", text.ljust(width)[:width]) for text in totals(run)]


def collapse(events: list[dict]) -> list[dict]:
    """Runs of one kind become one event with the first and last time, the last value and a count."""
    result: list[dict] = []
    for event in events:
        if result and result[-1]["kind"] == event["kind"]:
            result[-1] |= {"bytes": event.get("bytes"), "until": event["t_usec"], "count": result[-1]["count"] + 1}
        else:
            result.append(dict(event, until=event["t_usec"], count=1))
    return result


def event_lines(run: dict) -> list[str]:
    lines = []
    for event in collapse(run["events"]):
        text = WORDS[event["kind"]]
        if event.get("bytes"):
            text += f" {size_text(event['bytes'])}"
        start = (event["t_usec"] - run["start_usec"]) / 1e6
        if event["count"] > 1:
            text += f" in {event['count']} steps, until {(event['until'] - run['start_usec']) / 1e6:.2f} s"
        lines.append(f"  {start:7.2f} s  {text}")
    return lines


def draw(data: dict, width: int = 80, colour: bool = False) -> str:
    runs = data["runs"]
    label, gap = 7, 3
    each = max(16, (max(width, 80) - label - gap * (len(runs) - 1)) // len(runs))
    seconds = max(duration(run) for run in runs)
    top = max([b for run in runs for _, b in run["memory"]] or [0])
    panels = [panel(run, each, seconds, top, colour) for run in runs]
    lines = ["Requests kept, of a service of 100 a second, while its neighbour leaks", ""]
    for rows in zip(*panels):
        lines.append((rows[0][0].ljust(label) + (" " * gap).join(text for _, text in rows)).rstrip())
    memory = f"   memory: the neighbour's, up to {size_text(top)}" if top else ""
    lines += ["", f"  ! silent {SILENT_MS} ms or more{memory}",
              f"  state: {STATE['free']} neighbour free   {STATE['held']} its limit lowered   {STATE['gone']} gone"]
    for run in runs:
        if run["events"]:
            lines += ["", f"{run['title']}, counted from the neighbour's start:", *event_lines(run)]
    if data.get("why"):
        lines += ["", "$ cgctl why", data["why"].rstrip()]
    return "\n".join(lines) + "\n"
