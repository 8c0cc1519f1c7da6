// A WHEP viewer that nobody here wrote: npm's whip-whep on npm's @roamhq/wrtc.
// Usage: node whep_client.mjs NODE_MODULES URL TOKEN. Prints what it saw as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, url, token] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const wrtc = require("@roamhq/wrtc");
const source = readFileSync(`${folder}/whip-whep/whep.js`).toString("base64");
const { WHEPClient } = await import(`data:text/javascript;base64,${source}`);

const pc = new wrtc.RTCPeerConnection();
pc.addTransceiver("audio", { direction: "recvonly" });
pc.addTransceiver("video", { direction: "recvonly" });
const seen = { frames: 0, sounds: 0, width: 0 };
pc.ontrack = ({ track }) => {
  if (track.kind === "video") {
    new wrtc.nonstandard.RTCVideoSink(track).onframe = ({ frame }) => {
      seen.frames += 1;
      seen.width = frame.width;
    };
  } else {
    new wrtc.nonstandard.RTCAudioSink(track).ondata = () => { seen.sounds += 1; };
  }
};
const client = new WHEPClient();
await client.view(pc, url, token);
const end = Date.now() + 60000;
while (seen.frames < 50 && Date.now() < end) await new Promise((done) => setTimeout(done, 100));
await client.stop();
console.log(JSON.stringify(seen));
process.exit(0);
