// Where calls go: to the object of their mesh, to all that may know, or nowhere.
import { ConnectError } from "@connectrpc/connect";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { machineOf, configOf } from "./config.js";
import { indexOfAgent, indexOfColonies } from "./index-object.js";
import { INTERNAL, METHODS, NOT_FOUND, OK, UNAVAILABLE } from "./methods.js";

const nothing = new Uint8Array(0);
const method = (name) => METHODS.indexOf(name);
const LOOKUP_AGENT = method("LookupAgent");

// The registry of no mesh: it answers what needs none, and refuses what names none. Its database is
// always empty.
let local;

function answerHere(env, call) {
  const machine = machineOf(env);
  if (local?.machine !== machine || local.mesh.closed) local = { machine, mesh: machine.open(() => []) };
  machine.touch(local.mesh);
  const refused = machine.handle(local.mesh, { ...call, ticket: 1 });
  const [answer] = [...machine.answers(local.mesh)];
  return refused ?? answer;
}

function unavailable(what, error) {
  console.error(`error edge: ${what}: ${error.message}`);
  return { code: UNAVAILABLE, message: "the server's database is not available", response: nothing };
}

// Hands CALL to the object of MESH. Its answer is the registry's.
async function askMesh(env, mesh, call) {
  const headers = { method: String(call.method), mesh: encodeURIComponent(mesh), agent: encodeURIComponent(call.agent),
    source: call.source, "host-name": encodeURIComponent(call.host) };
  if (call.deadline !== undefined) headers.deadline = String(call.deadline);
  if (call.proofKey) headers["proof-key"] = call.proofKey;
  try {
    const stub = env.MESH.get(env.MESH.idFromName(mesh));
    const response = await stub.fetch("https://mesh/", { method: "POST", headers, body: call.request, signal: call.signal });
    return {
      code: Number(response.headers.get("code") ?? UNAVAILABLE),
      message: decodeURIComponent(response.headers.get("message") ?? ""),
      retryAfter: Number(response.headers.get("retry-after")),
      response: new Uint8Array(await response.arrayBuffer()),
    };
  } catch (error) {
    return unavailable(METHODS[call.method], error);
  }
}

// An agent that is looked up by its name alone: the live one that registered first.
async function findAgent(env, call) {
  let meshes;
  try {
    meshes = await indexOfAgent(env, call.agent).find(call.agent);
  } catch (error) {
    return unavailable("index", error);
  }
  for (const mesh of meshes) {
    const answer = await askMesh(env, mesh, { ...call, request: call.requestIn(mesh) });
    if (answer.code !== NOT_FOUND) return answer;
  }
  return { code: NOT_FOUND, message: `agent ${call.agent} not found`, response: nothing };
}

function route(env, call) {
  if (call.method === LOOKUP_AGENT && call.agent && !call.mesh) return findAgent(env, call);
  return call.mesh ? askMesh(env, call.mesh, call) : answerHere(env, call);
}

// The public key that a proof was made with, as the object wants it; only where there is a proof.
function proofKey(message) {
  if (!message.proof?.length || !/^[A-Za-z0-9+/]{43}=$/.test(message.pubkey)) return undefined;
  return message.pubkey;
}

// What only the host knows of a response.
async function supply(env, desc, response) {
  const { stunServers } = configOf(env);
  if ("stunServers" in response && stunServers.length) response.stunServers = stunServers;
  if (desc.name !== "Health") return response;
  try {
    response.registeredColonies = await indexOfColonies(env).colonies();
    return response;
  } catch (error) {
    throw new ConnectError(unavailable("index", error).message, UNAVAILABLE);
  }
}

// Calls the method DESC with MESSAGE for CALLER {env, source, host, deadline, signal, fault}: FAULT is
// what the call is answered with if it is wrong already. Returns the response message; throws
// ConnectError, and sets caller.retryAfter when it is known.
export async function invoke(desc, message, caller) {
  if (caller.fault) throw caller.fault;
  const answer = await route(caller.env, {
    method: method(desc.name),
    mesh: message.meshId ?? message.colonyId ?? "",
    agent: message.agentId ?? "",
    request: toBinary(desc.input, message),
    requestIn: (meshId) => toBinary(desc.input, { ...message, meshId }),
    proofKey: proofKey(message),
    source: caller.source, host: caller.host, deadline: caller.deadline, signal: caller.signal,
  });
  caller.retryAfter = answer.retryAfter;
  if (answer.code === INTERNAL && machineOf(caller.env).keysWrong)
    throw new ConnectError("no signing key available", answer.code);
  if (answer.code !== OK) throw new ConnectError(answer.message, answer.code);
  return supply(caller.env, desc, fromBinary(desc.output, answer.response));
}
