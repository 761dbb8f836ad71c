import Messages

/// One stream of an agent, from its hello to its end; drawn by the shell, never used twice.
public struct SessionID: Sendable, Hashable {
  public var value: UInt64
  public init(_ value: UInt64) { self.value = value }
}

/// One call that waits for an answer; drawn by the shell.
public struct CallID: Sendable, Hashable {
  public var value: UInt64
  public init(_ value: UInt64) { self.value = value }
}

/// What the arbiter is told. Everything random is drawn before and stands in the event.
public enum Event: Sendable, Hashable {
  /// `uid` is given to the claim if it is a new one.
  case claimCreated(CallID, CreateClaimRequest, uid: String)
  case claimDeleted(CallID, DeleteClaimRequest)
  case claimExtended(CallID, ExtendClaimRequest)
  case claimRatesUpdated(CallID, UpdateClaimRatesRequest)
  /// Somebody wants its function back, and says why.
  case claimEvicted(CallID, EvictClaimRequest)
  /// `uids` are given to those that are new ones, each by its place in the request.
  case claimsApplied(CallID, ApplyClaimsRequest, uids: [String])

  case tenantCreated(CallID, CreateTenantRequest)
  case tenantSet(CallID, SetTenantRequest)
  case tenantDeleted(CallID, DeleteTenantRequest)

  case cordoned(CallID, CordonRequest)
  case uncordoned(CallID, UncordonRequest)
  case drained(CallID, DrainRequest)
  case tainted(CallID, TaintRequest)
  case functionCountSet(CallID, SetFunctionCountRequest)
  case rebalanced(CallID, RebalanceRequest)

  /// Somebody knows from outside that nothing runs on the host any more; `reason` says who, and how. Without a call
  /// where nobody waits for the answer.
  /// - Parameter isKnownToBeOff: it was switched off, and need not be silent for as long as its lease lasts.
  case hostConfirmedDead(CallID?, ConfirmHostDeadRequest, reason: String, isKnownToBeOff: Bool = true)
  /// What `Effect.fenceHost` asked for has not been done.
  case fenceFailed(host: String, bootID: String, message: String)
  case hostForgotten(CallID, ForgetHostRequest)
  case hostRescanned(CallID, RescanHostRequest)
  case orphanAdopted(CallID, AdoptOrphanRequest)
  case orphanPurged(CallID, PurgeOrphanRequest)

  /// The first message of a session.
  case hostConnected(SessionID, AgentHello)
  case hostDisconnected(SessionID)
  case heartbeatReceived(SessionID, Heartbeat)
  case inventoryReported(SessionID, InventoryReport)
  case functionsReported(SessionID, FunctionReport)

  /// Comes a few times in a second, so that leases run out.
  case timePassed
}
