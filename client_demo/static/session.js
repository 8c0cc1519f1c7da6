/** The server's REST side: faces, clips, and one session's life. */

export class Problem extends Error {
  /** @param {{code: string, status?: number, detail?: string, retryAfter?: number}} facts */
  constructor({ code, status = 0, detail = "", retryAfter = 0 }) {
    super(detail || code);
    Object.assign(this, { code, status, detail, retryAfter });
  }
}

const END_TIMEOUT_MS = 3000; // a server that does not answer by then is gone, and the session with it

export const address = (path) => new URL(path.replace(/^\//, ""), document.baseURI);

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), options);
  } catch {
    throw new Problem({ code: "unreachable" });
  }
  if (response.ok) return response;
  let body = {};
  try {
    body = await response.json();
  } catch {
    // An answer without a problem+json body (a proxy's, say) is told by its status alone.
  }
  throw new Problem({
    code: body.code || `http_${response.status}`,
    status: response.status,
    detail: body.detail || body.title || "",
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
  });
}

export async function listAvatars() {
  return (await (await request("avatars")).json()).avatars;
}

export async function listClips() {
  return (await (await request("clips")).json()).clips;
}

export async function fetchSpeech(url) {
  return (await request(url)).arrayBuffer();
}

/**
 * Open a session for a bundled avatar ({avatarId}) or a picture ({portrait}: Blob, and box: [x, y,
 * width, height] in shares of it, around the face to take).
 */
export async function openSession({ avatarId, portrait, box, mode, key }) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let body;
  if (portrait) {
    body = new FormData();
    body.append("portrait", portrait, "portrait");
    body.append("mode", mode);
    body.append("disclosure", "true");
    if (box) body.append("box", box.join(","));
  } else {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify({ avatar_id: avatarId, mode, disclosure: true });
  }
  const response = await request("session", { method: "POST", headers, body });
  return new ServerSession(await response.json());
}

export class ServerSession {
  constructor(facts) {
    this.id = facts.session_id;
    this.token = facts.token;
    this.mode = facts.mode;
    this.video = facts.video;
    this.audio = facts.audio;
    this.report = facts.report || null; // what was found in the portrait, and what limits it
    this.iceServers = facts.ice_servers || [];
    this.offerPath = facts.media?.offer_url || `session/${this.id}/offer`;
    this.wsPath = facts.media?.ws_url || `session/${this.id}/stream`;
  }

  /** The WebSocket's address; a browser cannot set headers there, so the token is in the query. */
  streamUrl(video) {
    const url = address(this.wsPath);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("token", this.token);
    url.searchParams.set("video", video);
    return url.href;
  }

  async offer(description) {
    const response = await this.#send("POST", this.offerPath, description);
    return response.json();
  }

  async candidate(candidate) {
    await this.#send("PATCH", this.offerPath, candidate);
  }

  async interrupt() {
    await this.#send("POST", `session/${this.id}/interrupt`);
  }

  /** End it for good. Survives the page: a browser keeps the request alive when the tab closes. */
  async end() {
    const signal = AbortSignal.timeout(END_TIMEOUT_MS);
    await this.#send("DELETE", `session/${this.id}`, undefined, { keepalive: true, signal });
  }

  #send(method, path, body, options = {}) {
    const headers = { Authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    return request(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...options,
    });
  }
}
