// A plain client: fetch() for what clients send, node:http for what fetch() would embellish.
import assert from "node:assert/strict";
import http from "node:http";

export const service = "/coral.discovery.v1.DiscoveryService";
export const json = { "Content-Type": "application/json" };

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let count = 0;
export const unique = (name) => `${name}-${process.pid}-${++count}`;

// An address of the documentation ranges that no other test of this run calls from.
export const uniqueAddress = () => `2001:db8:${process.pid.toString(16).slice(-4)}:${(++count).toString(16)}::1`;
export const from = (address) => ({ "CF-Connecting-IP": address });

export const colonyOf = (meshId, more = {}) => ({
  meshId, pubkey: "Y29sb255LWNvbG9ueS1jb2xvbnktY29sb255LWNvbG8=", endpoints: ["192.0.2.1:41580"], ...more,
});
export const agentOf = (meshId, agentId, more = {}) => ({
  meshId, agentId, pubkey: "YWdlbnQtYWdlbnQtYWdlbnQtYWdlbnQtYWdlbnQtYWc=", endpoints: ["192.0.2.2:5000"], ...more,
});

// That ANSWER, or what it promises, is an error with this HTTP status, code and message.
export async function refused(answer, status, code, text = /./) {
  const { status: got, body, headers } = await answer;
  assert.deepEqual([got, body?.code], [status, code], JSON.stringify(body));
  assert.match(headers.get("content-type"), /^application\/json/);
  assert.match(body.message, text);
  return body;
}
export const invalid = (answer, text) => refused(answer, 400, "invalid_argument", text);
export const denied = (answer, text) => refused(answer, 403, "permission_denied", text);
export const missing = (answer, text) => refused(answer, 404, "not_found", text);

// That MOMENT, in RFC 3339, is S seconds from now, give or take two.
export function isIn(moment, s) {
  assert.match(moment, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  const off = Date.parse(moment) - Date.now() - s * 1000;
  assert.ok(Math.abs(off) < 2000, `${moment} is ${off} ms off`);
}

export async function timed(promise) {
  const start = performance.now();
  const answer = await promise;
  return { ...answer, ms: performance.now() - start };
}

export class Client {
  constructor(url) {
    this.url = url;
  }

  // A Connect unary call. BODY is sent as JSON, a string as it is; { status, headers, body } comes back.
  async rpc(method, body = {}, headers = {}, signal = undefined) {
    const response = await fetch(`${this.url}${service}/${method}`, {
      method: "POST", headers: { ...json, ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body), signal,
    });
    const text = await response.text();
    let parsed;
    try {
      parsed = text ? JSON.parse(text) : undefined;
    } catch {
      throw new Error(`${method}: ${response.status} is not JSON: ${text.slice(0, 200)}`);
    }
    return { status: response.status, headers: response.headers, body: parsed };
  }

  // A call that must succeed; its body.
  async ok(method, body, headers) {
    const answer = await this.rpc(method, body, headers);
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  // A request with nothing added to it, on a connection of its own.
  raw(path, { method = "GET", headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request(`${this.url}${path}`, { method, headers, agent: false }, (response) => {
        const pieces = [];
        response.on("data", (data) => pieces.push(data));
        response.on("error", reject);
        response.on("end", () => {
          const bytes = Buffer.concat(pieces);
          resolve({ status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() });
        });
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  post(method, headers, body) {
    return this.raw(`${service}/${method}`, { method: "POST", headers, body });
  }
}
