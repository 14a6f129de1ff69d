"""Metrics of a running server in Prometheus's text format."""

from shotstream.serve.http.state import Server

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(server: Server) -> str:
    """Return the server's metrics in Prometheus's text format, each with its type and a line of help."""
    tally, stories = server.worker.tally, server.open_stories
    metrics = (
        ("frames_total", "counter", "Frames made since the start.", tally.frames),
        ("chunks_total", "counter", "Chunks made since the start.", tally.chunks),
        ("shots_total", "counter", "Shots finished since the start.", tally.shots),
        ("failures_total", "counter", "Stories that could not go on.", tally.failures),
        ("model_seconds_total", "counter", "Time that the model was busy.", tally.busy_s),
        ("dropped_frames_total", "counter", "Frames that slow viewers who left were not sent.", stories.dropped),
        ("pending_commands", "gauge", "Commands that wait for the model.", server.worker.pending),
        ("open_stories", "gauge", "Stories that are open.", len(stories.channels)),
        ("viewers", "gauge", "Viewers in front of open stories.", stories.viewers),
        ("waiting_viewers", "gauge", "Viewers in line.", stories.waiting),
        ("stories", "gauge", "Stories that are kept.", server.store.count()),
    )
    lines = [
        f"# HELP shotstream_{name} {meaning}\n# TYPE shotstream_{name} {kind}\nshotstream_{name} {value}"
        for name, kind, meaning, value in metrics
    ]
    return "\n".join(lines) + "\n"
