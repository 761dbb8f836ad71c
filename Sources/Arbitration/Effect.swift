import Messages

/// What the arbiter wants done. The shell makes every `save` and `remove` of one event durable in one transaction, then
/// performs the other effects in their order, and keeps the order of events too.
public enum Effect: Sendable, Hashable {
  case save(Record)
  case remove(RecordKey)
  /// What is new of who holds what: by its function and token it is about the last holding of these that has not ended, or it is
  /// the beginning of one.
  indirect case audit(Holding)

  case send(SessionID, CoordinatorMessage)
  /// The agent is told the refusal and its stream ends.
  case endSession(SessionID, Refusal)

  case answer(CallID, Answer)
  case refuse(CallID, Refusal)

  /// For those who watch; the claim carries its revision.
  case claimChanged(Claim)
  case claimGone(Claim)

  /// Something waits for proof from this host, it is silent, and its operator allows it to be fenced without being
  /// asked: a `hostConfirmedDead` for this boot, or a `fenceFailed`, is expected.
  case fenceHost(host: String, bootID: String)

  /// Whether this effect goes to the store.
  public var isDurable: Bool {
    switch self {
    case .save, .remove, .audit: true
    default: false
    }
  }
}

/// What a caller is answered.
public enum Answer: Sendable, Hashable {
  case claim(Claim)
  case host(Host)
  case orphans([Orphan])
  case plan(ClaimPlan)
  case maintenance(MaintenanceAnswer)
  case rebalance(RebalanceAnswer)
  case tenant(Tenant)
}

/// Why a request is not carried out, in words for the one who must act.
public struct Refusal: Error, Sendable, Hashable {
  /// The codes of gRPC that the arbiter uses, with gRPC's numbers.
  public enum Code: Int, Sendable, Hashable {
    case invalidArgument = 3
    case notFound = 5
    case alreadyExists = 6
    case failedPrecondition = 9
    case aborted = 10
  }

  public var code: Code
  public var message: String

  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }
}
