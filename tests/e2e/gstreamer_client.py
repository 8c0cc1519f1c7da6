"""A WHIP publisher and a WHEP viewer that nobody here wrote: GStreamer's webrtcbin.

Usage: /usr/bin/python3 gstreamer_client.py whip|whep URL TOKEN trickled|gathered [H264|VP8]
Candidates follow the offer or are in it. The publisher sends a tone until its standard input
ends; the viewer decodes ``FRAMES`` pictures and sounds. Prints what it saw as JSON. Without
arguments it only looks for what it needs; the exit status is ``MISSING`` where that is not there.
"""

from __future__ import annotations

import json
import queue
import select
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

MISSING = 77
try:
    import gi

    for library in ("Gst", "GstSdp", "GstWebRTC"):
        gi.require_version(library, "1.0")
    from gi.repository import Gst, GstSdp, GstWebRTC
except (ImportError, ValueError) as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(MISSING)

LIMIT_S = 60.0
FRAMES = 50
TONE = "audiotestsrc is-live=true volume=0.25 ! opusenc ! rtpopuspay pt=97 ! capsfilter caps={}"
DECODERS = {
    "H264": "rtph264depay ! h264parse ! openh264dec",
    "VP8": "rtpvp8depay ! vp8dec",
    "OPUS": "rtpopusdepay ! opusdec",
}
VIDEO = "application/x-rtp,payload=96,media=video,clock-rate=90000,encoding-name="
AUDIO = "application/x-rtp,payload=97,media=audio,clock-rate=48000,encoding-name=OPUS"
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


def missing() -> list[str]:
    """The elements that are not installed."""
    chains = " ! ".join(["webrtcbin ! nicesrc ! dtlsdec ! srtpdec", TONE, *DECODERS.values()])
    names = [element.split()[0] for element in chains.split(" ! ")]
    return [name for name in names if Gst.ElementFactory.find(name) is None]


class Call:
    """One webrtcbin, and what it saw."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.seen: dict[str, Any] = dict.fromkeys(("frames", "sounds", "width", "trickled"), 0)
        self.candidates: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.pipeline = Gst.Pipeline()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.webrtc.connect("on-ice-candidate", lambda *told: self.candidates.put(told[2]))
        self.webrtc.connect("pad-added", self._decode)
        self.pipeline.add(self.webrtc)

    def view(self, codec: str) -> None:
        """Ask for pictures and sound."""
        way = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        for caps in (VIDEO + codec, AUDIO):
            self.webrtc.emit("add-transceiver", way, Gst.Caps.from_string(caps))

    def publish(self) -> None:
        """Give a tone."""
        tone = Gst.parse_bin_from_description(TONE.format(AUDIO), True)
        self.pipeline.add(tone)
        tone.link(self.webrtc)
        way = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        self.webrtc.emit("get-transceiver", 0).set_property("direction", way)

    def run(self, gathered: bool, done: Callable[[], bool]) -> None:
        """Offer, take the answer, and hang up when done."""
        self.pipeline.set_state(Gst.State.PLAYING)
        promise = self._ask("create-offer", None)
        reply = promise.get_reply()  # owns the offer
        offer = reply.get_value("offer")
        self._ask("set-local-description", offer)
        end = time.monotonic() + LIMIT_S
        complete = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        while gathered and self.webrtc.get_property("ice-gathering-state") != complete:
            _wait(end)
        text = (self.webrtc.get_property("local-description") if gathered else offer).sdp.as_text()
        sys.stderr.write(text)
        with self._request("POST", self.url, text, {"Content-Type": SDP}) as answer:
            place, tag = urljoin(self.url, answer.headers["Location"]), answer.headers["ETag"]
            answered = GstSdp.SDPMessage.new_from_text(answer.read().decode())[1]
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        description = GstWebRTC.WebRTCSessionDescription.new(kind, answered)
        self._ask("set-remote-description", description)
        while not done():
            if not gathered:
                self._trickle(text, place, tag)
            _wait(end)
        self.seen["state"] = self.webrtc.get_property("connection-state").value_nick
        with self._request("DELETE", place) as answer:
            self.seen["deleted"] = answer.status
        self.pipeline.set_state(Gst.State.NULL)

    def _decode(self, _: Any, pad: Any) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        name = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        chain = f"{DECODERS[name]} ! fakesink name=end signal-handoffs=true sync=false"
        decoder = Gst.parse_bin_from_description(chain, True)
        decoder.get_by_name("end").connect("handoff", self._count)
        self.pipeline.add(decoder)
        pad.link(decoder.sinkpads[0])
        decoder.sync_state_with_parent()

    def _count(self, _: Any, buffer: Any, pad: Any) -> None:
        shape = pad.get_current_caps().get_structure(0)
        if shape.get_name() == "video/x-raw":
            self.seen["frames"] += 1
            self.seen["width"] = shape.get_int("width").value
        else:
            self.seen["sounds"] += 1

    def _ask(self, signal: str, description: Any) -> Any:
        promise = Gst.Promise.new()
        self.webrtc.emit(signal, description, promise)
        promise.wait()
        return promise

    def _request(
        self, method: str, url: str, text: str = "", headers: dict[str, str] | None = None
    ) -> Any:
        told = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        try:
            return urlopen(Request(url, text.encode() or None, told, method=method), timeout=30)
        except HTTPError as error:
            sys.exit(f"{method}: {error} {error.read().decode()}")

    def _trickle(self, offer: str, place: str, tag: str) -> None:
        """Send the candidates that came up, as a fragment of RFC 8840."""
        found = [f"a={self.candidates.get()}" for _ in range(self.candidates.qsize())]
        if not found:
            return
        lines = offer.splitlines()
        starts = ("a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:")
        head = [next(line for line in lines if line.startswith(start)) for start in starts]
        text = "".join(f"{line}\r\n" for line in (*head, *found))
        headers = {"Content-Type": FRAGMENT, "If-Match": tag}
        with self._request("PATCH", place, text, headers) as answer:
            assert answer.status == 204
        self.seen["trickled"] += len(found)


def _wait(end: float) -> None:
    if time.monotonic() > end:
        sys.exit(f"not done in {LIMIT_S:.0f} s")
    time.sleep(0.1)


def main() -> None:
    """Do what the command line says."""
    Gst.init(None)
    if lacking := missing():
        sys.stderr.write(f"GStreamer lacks {', '.join(lacking)}\n")
        sys.exit(MISSING)
    if len(sys.argv) == 1:
        return
    kind, url, token, candidates, *codec = sys.argv[1:]
    call = Call(url, token)
    if kind == "whip":
        call.publish()
        call.run(candidates == "gathered", lambda: bool(select.select([sys.stdin], [], [], 0)[0]))
    else:
        call.view(*codec)
        counts = ("frames", "sounds")
        call.run(candidates == "gathered", lambda: all(call.seen[one] >= FRAMES for one in counts))
    sys.stdout.write(json.dumps(call.seen) + "\n")


main()
