// The methods as core/rpc/methods.h numbers them.
export const METHODS = [
  "RegisterColony", "LookupColony", "RegisterAgent", "LookupAgent", "DeregisterColony", "DeregisterAgent",
  "RequestRelay", "ReleaseRelay", "Health", "CreateBootstrapToken", "RedeemBootstrapToken",
  "PublishBootstrapRendezvous", "PollBootstrapRendezvous", "AckBootstrapRendezvous",
  "InitiatePunch", "AwaitPunch", "AnswerPunch", "ReportPunch", "GetObservedAddress",
];

// Status codes that the host answers with itself.
export const OK = 0, NOT_FOUND = 5, INTERNAL = 13, UNAVAILABLE = 14;

// Fields that clients may count on even when they are zero or empty: as in server/schema_names.c.
export const ALWAYS = {
  LookupColonyResponse: { endpoints: [], observedEndpoints: [] },
  LookupAgentResponse: { endpoints: [], observedEndpoints: [] },
  DeregisterColonyResponse: { success: false },
  DeregisterAgentResponse: { success: false },
  HealthResponse: { uptimeSeconds: "0", registeredColonies: 0 },
  PublishBootstrapRendezvousResponse: { success: false, probeFailed: false, recordId: "" },
  PollBootstrapRendezvousResponse: { records: [], timedOut: false },
  AckBootstrapRendezvousResponse: { success: false },
  InitiatePunchResponse: { accepted: false },
  AwaitPunchResponse: { offers: [], timedOut: false },
  AnswerPunchResponse: { success: false },
  GetObservedAddressResponse: { publicIp: "" },
};
