/** What went wrong, in plain words. */

const PORTRAIT = {
  no_face: "There is no human face to be found in this picture. Pets and toys cannot speak here, sorry: try a person, upright and seen from the front.",
  no_face_there: "There is no face where you pointed. Point at the middle of a face.",
  face_too_small: "The face is too small. Use a picture taken from nearer, or the same one larger.",
  face_turned: "The face is turned away or tilted. Use an upright picture taken from the front.",
  image_too_small: "This picture is too small. Use a larger one.",
  image_too_large: "This picture has too many pixels. Make it smaller and try again.",
  bad_image: "This picture cannot be read. Use a JPEG, PNG, WebP or AVIF.",
  too_large: "This file is too big for the server. Use a smaller picture.",
  unsupported_media_type: "This kind of file is not supported. Use a JPEG, PNG, WebP or AVIF.",
};

const OTHER = {
  unreachable: "The server does not answer. Check that it is running, then try again.",
  not_ready: "The server is still getting ready. Try again in a few seconds.",
  unauthorised: "This server asks for an access key. Enter it below and press Start.",
  not_found: "The session has ended on the server. Press Start for a new one.",
  mic_denied: "The microphone is blocked. Allow it in your browser's address bar, or play a clip instead.",
  mic_absent: "No microphone was found. Connect one, or play a clip instead.",
  mic_insecure: "Browsers give the microphone only to pages on https or localhost. Play a clip instead.",
  mic_busy: "The microphone could not be opened; another program may be using it. You can play a clip instead.",
  no_worklet: "This browser plays the WebSocket route only on https or localhost. Choose WebRTC instead.",
  no_webrtc: "WebRTC could not connect from this network. Set the connection to Automatic or WebSocket.",
  lost: "The connection was lost. Press Start to begin again.",
  bad_speech: "Your browser cannot decode this sound file. Try a WAV, MP3, M4A or Ogg file.",
  long_speech: "This file is longer than ten minutes. Use a shorter one.",
  no_speech_file: "Choose an audio file first.",
  no_face_chosen: "Choose a face first.",
};

/** @returns {string} one or two sentences for a person */
export function explain(error) {
  if (error?.code === "no_capacity") {
    const wait = error.retryAfter ? `in about ${error.retryAfter} s` : "in a moment";
    return `All places on this server are taken. Try again ${wait}.`;
  }
  const known = PORTRAIT[error?.code] || OTHER[error?.code];
  return known || error?.detail || error?.message || "Something went wrong. Press Start to try again.";
}

/** Whether choosing another picture is the way out. */
export const isPortraitProblem = (error) => Boolean(PORTRAIT[error?.code]);

const CLOSING = {
  idle_timeout: "The session ended because nobody was connected for a while.",
  max_duration: "The session reached its longest allowed time. Press Start for a new one.",
  shutdown: "The server is shutting down.",
  worker_lost: "The server lost its model process. Press Start to begin again.",
};

export const explainClosing = (reason) => CLOSING[reason] || "The server ended the session.";
